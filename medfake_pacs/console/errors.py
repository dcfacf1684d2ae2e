"""What can go wrong with a request; each error carries its HTTP status, and its text is for people to read."""

from medfake_pacs.console.security.permissions import PERMISSION_MEANINGS, Permission
from medfake_pacs.errors import MedfakeError


class RequestError(MedfakeError):
    """A request can't be answered; ``title`` is a few words, the text says what to do."""

    status = 400
    title = "This request can't be answered"


class NotSignedInError(RequestError):
    """Nobody is signed in, or the session or token has ended."""

    status = 401
    title = "Sign in first"

    def __init__(self, text: str = "Nobody is signed in, or the session or token has ended.") -> None:
        super().__init__(text)


class NotAllowedError(RequestError):
    """The account lacks a permission."""

    status = 403
    title = "Your account may not do this"

    def __init__(
        self, permission: Permission | None = None, text: str = "", remedy: str = "An administrator can give it."
    ) -> None:
        meaning = f"It needs the right to {PERMISSION_MEANINGS[permission]} ({permission})." if permission else text
        super().__init__(f"{meaning} {remedy}")


class PasswordChangeNeededError(RequestError):
    """The account has a one-time password, which its owner must change before anything else."""

    status = 403
    title = "Choose a password of your own first"

    def __init__(self) -> None:
        super().__init__("An administrator has given this account a one-time password. Change it at /account/password.")


class NotFoundError(RequestError):
    """There is no such thing, or not any more."""

    status = 404
    title = "There is no such thing here"


class RequestTimeoutError(RequestError):
    """The body didn't come in time."""

    status = 408
    title = "This took too long to arrive"


class ConflictError(RequestError):
    """What was asked for contradicts what is there."""

    status = 409
    title = "This can't be done now"


class GoneError(RequestError):
    """It was here, and its retention is over."""

    status = 410
    title = "This is no longer kept"


class TooLargeError(RequestError):
    """The body is larger than is taken."""

    status = 413
    title = "This is too large"


class UnsupportedContentError(RequestError):
    """The content isn't of a kind that is taken."""

    status = 415
    title = "This kind of file isn't taken"


class InvalidInputError(RequestError):
    """A value is missing or wrong; ``fields`` maps its name to what is wrong with it."""

    status = 422
    title = "Something needs to be corrected"

    def __init__(self, text: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.fields = fields or {}


class TooManyRequestsError(RequestError):
    """Tried too often; ``retry_after_s`` says when to try again."""

    status = 429
    title = "Too many attempts"

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class BusyError(RequestError):
    """Too much is being made at the moment; ``retry_after_s`` says when to try again."""

    status = 503
    title = "Too much at once"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("Many pictures are being made just now. Try again in a few seconds.")
        self.retry_after_s = retry_after_s


class NoRoomError(RequestError):
    """The disk is nearly full."""

    status = 507
    title = "There is no room"
