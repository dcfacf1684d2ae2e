"""What became of one attempt to tell someone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One attempt's outcome; ``status`` is that of HTTP or SMTP, None where no answer came.

    ``everyone`` means that the target would have answered any other notification alike, so that others wait too;
    ``retry_after_s`` is how long it asked to be left alone.
    """

    succeeded: bool
    status: int | None
    comment: str
    everyone: bool = False
    retry_after_s: float = 0.0
