"""Whose study it is: patient and study attributes of the sources, read from a header and made valid."""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from medfake_pacs.report import charset, sanitise

# Everything that a parser can meet in a header that is truncated or lies; the report is made without it then.
_UNREADABLE = (
    InvalidDicomError, OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    NotImplementedError, OverflowError, RecursionError, struct.error, zlib.error,
)  # fmt: skip

_CLEANERS: Mapping[str, Callable[[str], str]] = {
    "PatientName": sanitise.person_name,
    "PatientID": sanitise.identifier,
    "IssuerOfPatientID": sanitise.identifier,
    "PatientBirthDate": sanitise.da,
    "PatientSex": sanitise.sex,
    "StudyDate": sanitise.da,
    "StudyTime": sanitise.tm,
    "ReferringPhysicianName": sanitise.person_name,
    "StudyID": sanitise.identifier,
    "AccessionNumber": sanitise.identifier,
    "StudyDescription": sanitise.short_text(64),
    "TimezoneOffsetFromUTC": sanitise.zone,
}
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
# A study whose first images all lack a Patient ID has none.
_MAX_SOURCES_READ = 8
_PERSON_NAMES = frozenset({"PatientName", "ReferringPhysicianName"})
_TEXT_VRS = frozenset({None, "UN", "AE", "CS", "DA", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Valid text by attribute keyword, and the source's character set (None: unknown term)."""

    values: Mapping[str, str]
    character_set: tuple[str, ...] | None

    def get(self, keyword: str) -> str:
        """Return the attribute's text, empty where no source has it."""
        return self.values.get(keyword, "")


def read_subject(paths: Iterable[Path]) -> Subject | None:
    """Read the patient and study attributes from the first source that names a patient.

    Attributes are never mixed from two sources: one of them could belong to somebody else. None where no
    file has any of them.
    """
    fallback: Subject | None = None
    for path in islice(paths, _MAX_SOURCES_READ):
        subject = _read_one(path)
        if subject is not None and subject.get("PatientID"):
            return subject
        fallback = fallback or subject
    return fallback


def _read_one(path: Path) -> Subject | None:
    header = read_header(path, ("SpecificCharacterSet", *_CLEANERS))
    if header is None:
        return None
    terms = charset.parse_terms(raw_value(header, "SpecificCharacterSet").decode("ascii", "replace"))
    values = {}
    for keyword, clean in _CLEANERS.items():
        decoded = charset.decode(raw_value(header, keyword), terms, person_name=keyword in _PERSON_NAMES)
        values[keyword] = clean(decoded)
    return Subject(values=values, character_set=terms) if any(values.values()) else None


def read_header(path: Path, keywords: Iterable[str]) -> Dataset | None:
    """Read those attributes of a Part 10 file, undecoded; None where the file can't be parsed."""
    # What is odd in a received header is reported by the receiver; here it only has to be survived.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return dcmread(path, stop_before_pixels=True, specific_tags=list(keywords), force=True)
        except _UNREADABLE:
            return None


def raw_value(header: Dataset, keyword: str) -> bytes:
    """Return the undecoded value, so that pydicom never validates (or rejects) what a sender wrote."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return b""
    element = header.get_item(tag)
    if isinstance(element, RawDataElement):
        return bytes(element.value or b"") if element.VR in _TEXT_VRS else b""
    value = element.value if element is not None else None
    parts = [value] if isinstance(value, str) else list(value or ())
    return "\\".join(str(part) for part in parts).encode("utf-8", "replace")
