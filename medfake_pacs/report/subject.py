"""Whose study it is: patient and study attributes of the sources, read from a header and made valid."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from medfake_pacs.report import charset, sanitise
from medfake_pacs.report.headers import ascii_value, raw_value, read_header

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
    terms = charset.parse_terms(ascii_value(header, "SpecificCharacterSet"))
    values = {}
    for keyword, clean in _CLEANERS.items():
        decoded = charset.decode(raw_value(header, keyword), terms, person_name=keyword in _PERSON_NAMES)
        values[keyword] = clean(decoded)
    return Subject(values=values, character_set=terms) if any(values.values()) else None
