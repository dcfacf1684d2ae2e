"""Write what a target is told, from its template: Jinja2 in a sandbox, where a name that isn't there is an error."""

import json
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from medfake_pacs.config import NotificationSettings
from medfake_pacs.errors import NotificationError
from medfake_pacs.notification.notice import Notice

DEFAULTS = Path(__file__).resolve().parent / "templates"
_DEFAULT_OF = {"webhook": "webhook.json", "email": "email.txt"}
_SUBJECT = "Subject:"
_MAXIMUM_CHARACTERS = 100_000


def webhook_body(target: NotificationSettings, notice: Notice) -> bytes:
    """Return the JSON that a webhook is sent, UTF-8.

    Raises
    ------
    NotificationError
        If the template can't be used, or doesn't make JSON.
    """
    text = _rendered(target, notice)
    try:
        json.loads(text)
    except ValueError as error:
        raise NotificationError(f"the template doesn't make JSON ({error}); put each value through |tojson") from None
    return text.strip().encode("utf-8")


def mail_text(target: NotificationSettings, notice: Notice) -> tuple[str, str]:
    """Return subject and body of an e-mail: the first line is ``Subject: ...``, the second is empty.

    Raises
    ------
    NotificationError
        If the template can't be used, or has no subject.
    """
    first, _, body = _rendered(target, notice).lstrip().partition("\n")
    if not first.startswith(_SUBJECT):
        raise NotificationError(f"the template's first line is no subject; begin it with {_SUBJECT!r}")
    # One line whatever a fact holds: nothing that is told can become a header.
    subject = " ".join("".join(c if c.isprintable() else " " for c in first.removeprefix(_SUBJECT)).split())
    if not subject or not body.strip():
        raise NotificationError("the template makes an empty subject or body; write both")
    return subject, body.lstrip("\n")


def _rendered(target: NotificationSettings, notice: Notice) -> str:
    path = target.template_file or DEFAULTS / _DEFAULT_OF[target.kind]
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["time"] = _time_text
    try:
        text = environment.from_string(path.read_text(encoding="utf-8")).render(notice.facts())
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if line else ""
        raise NotificationError(f"the template can't be used: {where}{error}") from None
    except OSError as error:
        raise NotificationError(f"the template can't be read: {error.strerror}") from None
    if len(text) > _MAXIMUM_CHARACTERS:
        raise NotificationError(f"the template makes more than {_MAXIMUM_CHARACTERS:,} characters; shorten it")
    # A lone surrogate or NUL from a header would break the encoding or the receiver.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
