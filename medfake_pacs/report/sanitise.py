"""Make a received value fit its value representation, losing as little as can be (PS3.5 6.2)."""

import re
from collections.abc import Callable
from datetime import date

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(\.\d{1,6})?)?)?")
_ZONE = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_MAX_GROUPS_OF_NAME = 3
_MAX_NAME_GROUP = 64
# No real identifier is longer; it bounds what a hostile header can make the report carry.
_MAX_IDENTIFIER = 1024


def text(value: str, limit: int) -> str:
    """One line of text: no control characters, single value, at most ``limit`` characters."""
    return _CONTROL.sub(" ", value).replace("\\", "/").strip()[:limit].strip()


def paragraph(value: str) -> str:
    """Text of any length for a content item (UT); line ends stay, other control characters go."""
    lines = (_CONTROL.sub(" ", line).rstrip() for line in value.splitlines())
    return "\n".join(lines).strip()


def identifier(value: str) -> str:
    """An identifier by which archives file objects: kept whole, even where it is longer than its VR allows.

    Cutting it would file the report under another patient, study or order than its images.
    """
    return _CONTROL.sub("", value).strip()[:_MAX_IDENTIFIER]


def person_name(value: str) -> str:
    """At most three component groups of at most 64 characters each; one name only."""
    groups = _CONTROL.sub("", value).split("\\")[0].split("=")[:_MAX_GROUPS_OF_NAME]
    cleaned = ["^".join(group[:_MAX_NAME_GROUP].split("^")[:5]).strip() for group in groups]
    return "=".join(cleaned).rstrip("=")


def da(value: str) -> str:
    """A date as YYYYMMDD; the ACR-NEMA form with separators is mended; anything else is empty."""
    match = _DATE.fullmatch(value.strip(" \0"))
    if match is None:
        return ""
    try:
        return date(*(int(part) for part in match.groups())).strftime("%Y%m%d").zfill(8)
    except ValueError:
        return ""


def tm(value: str) -> str:
    """A time as HHMMSS.FFFFFF or a leading part of it; anything else is empty."""
    match = _TIME.fullmatch(value.strip(" \0"))
    return "" if match is None else "".join(part or "" for part in match.groups())


def sex(value: str) -> str:
    """M, F or O; anything else is empty."""
    letter = value.strip(" \0").upper()[:1]
    return letter if letter in ("M", "F", "O") else ""


def zone(value: str) -> str:
    """An offset from UTC as +HHMM or -HHMM; anything else is empty."""
    match = _ZONE.fullmatch(value.strip(" \0"))
    return "" if match is None else match.group()


def yes_no(value: str) -> str:
    """YES or NO; anything else is empty."""
    word = value.strip(" \0").upper()
    return word if word in ("YES", "NO") else ""


def short_text(limit: int) -> Callable[[str], str]:
    """Return ``text`` with its limit fixed."""
    return lambda value: text(value, limit)
