"""Specific Character Set (0008,0005): decode a source's text, and choose a set that the report's text fits in.

References: PS3.3 C.12.1.1.2, PS3.5 6.1.
"""

import re
import warnings
from collections.abc import Iterable

from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

UTF_8 = ("ISO_IR 192",)
DEFAULT_REPERTOIRE: tuple[str, ...] = ()
_NOT_DEFINED_TERMS = frozenset({"ISO_IR 6", "ISO 2022 GBK", "ISO 2022 58"})


def _key(term: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", term.upper())


def parse_terms(value: str) -> tuple[str, ...] | None:
    """Return the defined terms of a Specific Character Set value, mended where only the spelling is off.

    Empty for the default repertoire; None when a term is unknown, so that the text has to be guessed.
    """
    spellings = {_key(term): term for term in python_encoding} | {"UTF8": "ISO_IR 192", "ISO88591": "ISO_IR 100"}
    terms = [spellings.get(_key(term)) for term in value.strip(" \0").split("\\")]
    if None in terms:
        return None
    if set(terms) <= {"", "ISO_IR 6", "ISO 2022 IR 6"}:
        return DEFAULT_REPERTOIRE
    return tuple(term or "" for term in terms)


def decode(value: bytes, terms: tuple[str, ...] | None, *, person_name: bool = False) -> str:
    """Decode ``value``; bytes that its declared set can't explain are read as UTF-8, else as ISO 8859-1."""
    if terms is None or (terms == DEFAULT_REPERTOIRE and not value.isascii()):
        return _guess(value)
    delimiters = PN_DELIMS if person_name else TEXT_VR_DELIMS
    # pydicom only warns when bytes don't fit, and puts replacement characters in their place.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            text = decode_bytes(value, codecs(terms), set(delimiters))
        except (UnicodeError, LookupError):
            return _guess(value)
    return text if "\ufffd" not in text else _guess(value)


def _guess(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def codecs(terms: tuple[str, ...]) -> list[str]:
    """Return the Python codecs of ``terms``."""
    return list(convert_encodings(list(terms) or [""]))


def choose(terms: tuple[str, ...] | None, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the source's ``terms`` when every text can be written in them, else UTF-8."""
    foreign = [text for text in texts if not text.isascii()]
    if not foreign:
        return terms if terms and _is_defined(terms) else DEFAULT_REPERTOIRE
    candidates = [terms] if terms and _is_defined(terms) else []
    return next((each for each in candidates if all(_fits(text, each) for text in foreign)), UTF_8)


def encode(text: str, terms: tuple[str, ...]) -> bytes:
    """Encode ``text``, which fits in ``terms`` (see ``choose``)."""
    return text.encode("ascii") if text.isascii() else encode_string(text, codecs(terms))


def _is_defined(terms: tuple[str, ...]) -> bool:
    if _NOT_DEFINED_TERMS.intersection(terms):
        return False
    if len(terms) == 1:
        return True
    return all(term == "" or term.startswith("ISO 2022 IR ") for term in terms) and "" not in terms[1:]


def _fits(text: str, terms: tuple[str, ...]) -> bool:
    names = codecs(terms)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return decode_bytes(encode_string(text, names), names, set(TEXT_VR_DELIMS)) == text
        except (UnicodeError, LookupError, ValueError):
            return False
