"""A place in the worklist, as addresses carry it."""

import base64
import binascii
import math
import re
from dataclasses import dataclass

from medfake_pacs.console.errors import InvalidInputError

_FORM = re.compile(r"([<>])([0-9.e+-]{1,32}) ([0-9.]{1,64})")
_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The study that a page follows, or precedes if ``backwards``: what is sorted by, and its UID."""

    key: float
    uid: str
    backwards: bool

    def __str__(self) -> str:
        text = f"{'<' if self.backwards else '>'}{self.key!r} {self.uid}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_cursor(text: str) -> Cursor | None:
    """Return the cursor that an address carries; None for an empty one.

    Raises
    ------
    InvalidInputError
        If it is none that a page or answer has given.
    """
    if not text:
        return None
    try:
        plain = base64.urlsafe_b64decode(text[:_LENGTH] + "=" * (-len(text) % 4)).decode()
        found = _FORM.fullmatch(plain)
        key = float(found[2]) if found else math.nan
    except (binascii.Error, ValueError):
        found, key = None, math.nan
    if found is None or not math.isfinite(key):
        remedy = "The place in the list isn't one that was given. Start again at the first page."
        raise InvalidInputError(remedy, {"cursor": "not a cursor that an answer has given: leave it out"})
    return Cursor(key=key, uid=found[3], backwards=found[1] == "<")
