"""Why an upload, or one of its files, isn't taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from medfake_pacs.console.errors import InvalidInputError, RequestError
from medfake_pacs.errors import MedfakeError

_TITLES = {
    HTTPStatus.REQUEST_TIMEOUT: "The upload broke off",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "This is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "This kind of file isn't taken",
    HTTPStatus.INSUFFICIENT_STORAGE: "There is no room",
}
# Of several reasons the first of these gives the answer's status.
_ORDER = (
    HTTPStatus.INSUFFICIENT_STORAGE, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY,
)  # fmt: skip
_NAMED_FILES = 20


class FileRefusedError(MedfakeError):
    """One file isn't taken. ``severe``: not only it, but the archive that it came in."""

    def __init__(
        self, reason: str, status: HTTPStatus = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, *, severe: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.severe = severe


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A file that isn't assessed, by the name that is shown, and why."""

    name: str
    reason: str
    status: HTTPStatus = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class UploadRefusedError(InvalidInputError):
    """Nothing of an upload is kept; ``files`` says of each file that is to blame why.

    ``summary`` is the text where the files are listed beside it.
    """

    def __init__(self, status: HTTPStatus, text: str, files: Sequence[LeftOut] = (), *, summary: str = "") -> None:
        named = files[:_NAMED_FILES]
        super().__init__(text, {item.name: item.reason for item in named})
        self.status = int(status)
        self.title = _TITLES.get(status, RequestError.title)
        self.files = tuple(files)
        self.summary = summary or text


def refused(files: Sequence[LeftOut]) -> UploadRefusedError:
    """Return the error for an upload of which these files can't be taken."""
    status = min((item.status for item in files), key=_ORDER.index)
    shown = "; ".join(f"{item.name}: {item.reason}" for item in files[:_NAMED_FILES])
    more = f"; and {len(files) - _NAMED_FILES} more" if len(files) > _NAMED_FILES else ""
    summary = "Nothing was kept of this upload."
    return UploadRefusedError(status, f"{summary} {shown}{more}.", files, summary=summary)
