"""Canonical JSON (RFC 8785): the same value always gives the same text, so that its hash can be checked.

Text is made storable first: PostgreSQL takes no NUL, UTF-8 no lone surrogate; both are written as a visible
escape (``\\x00``, ``\\udc80``).
"""

import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from medfake_pacs.errors import AuditError

_LARGEST_EXACT_INTEGER = 2**53 - 1
_FIXED_NOTATION_DIGITS = 21
_SMALLEST_FIXED_EXPONENT = -7


def storable(text: str) -> str:
    """Return ``text`` without what a database can't hold: NUL and lone surrogates become visible escapes."""
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return str(text)


def canonical_json(value: Any) -> str:
    """Return ``value`` as RFC 8785 JSON: keys in UTF-16 order, no spaces, numbers as ECMAScript writes them.

    Integers that a double can't hold exactly are written as text of their digits.

    Raises
    ------
    AuditError
        If it holds NaN, an infinity or a type that JSON doesn't have.
    """
    if isinstance(value, str):
        return encode_basestring(storable(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ",".join([canonical_json(item) for item in value]) + "]"
    if isinstance(value, numbers.Integral):
        return _integer(int(value))
    if isinstance(value, numbers.Real):
        return _number(float(value))
    raise AuditError(f"the log can't hold a {type(value).__name__}")


def _object(value: Mapping[Any, Any]) -> str:
    members = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise AuditError(f"a key in the log is text, not {type(key).__name__}")
        members[storable(key)] = item
    ordered = sorted(members) if all(map(str.isascii, members)) else sorted(members, key=_utf_16)
    return "{" + ",".join([encode_basestring(key) + ":" + canonical_json(members[key]) for key in ordered]) + "}"


def _utf_16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _integer(value: int) -> str:
    digits = str(value)
    return digits if abs(value) <= _LARGEST_EXACT_INTEGER else f'"{digits}"'


def _number(value: float) -> str:
    """Write a double as ECMAScript's Number::toString does (RFC 8785 3.2.2.3)."""
    if value != value or value in (float("inf"), float("-inf")):
        raise AuditError(f"the log can't hold {value}")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if len(text) <= point <= _FIXED_NOTATION_DIGITS:
        body = text + "0" * (point - len(text))
    elif 0 < point <= _FIXED_NOTATION_DIGITS:
        body = f"{text[:point]}.{text[point:]}"
    elif _SMALLEST_FIXED_EXPONENT < point - 1 < 0:
        body = "0." + "0" * -point + text
    else:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        body = f"{text[0]}{fraction}e{point - 1:+d}"
    return ("-" if sign else "") + body
