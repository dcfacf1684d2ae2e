"""Tell one target of one verdict, whatever kind of target it is; and find out at start whether that can be done."""

import time
from collections.abc import Iterator

from medfake_pacs.config import NotificationSettings, Problem, Settings, SmtpSettings
from medfake_pacs.errors import NotificationError
from medfake_pacs.notification.mail import message, send_mail
from medfake_pacs.notification.message import mail_text, webhook_body
from medfake_pacs.notification.notice import Notice, sample_notice
from medfake_pacs.notification.outcome import Outcome
from medfake_pacs.notification.webhook import read_secret, send_webhook, trusted


def send(target: NotificationSettings, smtp: SmtpSettings | None, notice: Notice) -> Outcome:
    """Tell a target; what goes wrong is in the outcome."""
    try:
        if target.kind == "webhook":
            return send_webhook(target, notice.event_id, webhook_body(target, notice), time.time())
        if smtp is None:
            raise NotificationError("no server takes e-mail; add an [smtp] section")
        subject, body = mail_text(target, notice)
        return send_mail(smtp, target.to, message(smtp, target.to, notice.event_id, subject, body, time.time()))
    except NotificationError as error:
        return Outcome(succeeded=False, status=None, comment=str(error))


def problems(settings: Settings) -> list[Problem]:
    """Return what is wrong with templates, secrets and certificates that the notifications name."""
    found = [problem for i, item in enumerate(settings.notifications, 1) for problem in _of_target(settings, i, item)]
    if settings.smtp and settings.smtp.ca:
        try:
            trusted(settings.smtp.ca)
        except NotificationError as error:
            found.append(Problem("smtp.ca", repr(str(settings.smtp.ca)), str(error), "name a PEM file"))
    return found


def _of_target(settings: Settings, number: int, target: NotificationSettings) -> Iterator[Problem]:
    key = f"notifications[{number}]"
    notice = sample_notice(target.name, settings.console.url)
    try:
        webhook_body(target, notice) if target.kind == "webhook" else mail_text(target, notice)
    except NotificationError as error:
        reason, _, remedy = str(error).partition("; ")
        shown = repr(str(target.template_file))
        yield Problem(f"{key}.template_file", shown, reason, remedy or "correct it; operations.md has its names")
    if target.secret_file:
        try:
            read_secret(target.secret_file)
        except NotificationError as error:
            yield Problem(f"{key}.secret_file", repr(str(target.secret_file)), str(error), "write a secret into it")
    if target.ca:
        try:
            trusted(target.ca)
        except NotificationError as error:
            yield Problem(f"{key}.ca", repr(str(target.ca)), str(error), "name a PEM file")
