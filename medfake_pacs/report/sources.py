"""What the received files add to a verdict: patient and study, Series Numbers, images without a finding."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medfake_pacs.entities import SeriesVerdict, Verdict
from medfake_pacs.report import sanitise
from medfake_pacs.report.headers import ascii_value, read_header
from medfake_pacs.report.subject import Subject, read_subject

_NUMBER = re.compile(r"[+-]?\d{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An instance that the report refers to."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def subject_of(verdict: Verdict, sources: Mapping[str, Path]) -> Subject:
    """Return whose study it is; where no file tells, from what was recorded at reception."""
    order = [uid for uid in _uids(verdict) if uid in sources]
    order += sorted(set(sources) - set(order))
    subject = read_subject(sources[uid] for uid in order)
    first = next((finding.attributes for series in verdict.series for finding in series.findings), None)
    if subject is not None or first is None:
        return subject or Subject(values={}, character_set=())
    recorded = {
        "PatientID": sanitise.identifier(first.patient_id),
        "AccessionNumber": sanitise.identifier(first.accession_number),
        "StudyDescription": sanitise.text(first.study_description, 64),
    }
    return Subject(values=recorded, character_set=())


def series_label(ordinal: int, series: SeriesVerdict, sources: Mapping[str, Path]) -> str:
    """Return the Series Number that viewers show, or the place in this report where there is none."""
    uids = (finding.attributes.sop_instance_uid for finding in series.findings)
    path = next((sources[uid] for uid in uids if uid in sources), None)
    number = ascii_value(read_header(path, ["SeriesNumber"]), "SeriesNumber") if path else ""
    return number if _NUMBER.fullmatch(number) else f"#{ordinal}"


def references(verdict: Verdict, sources: Mapping[str, Path]) -> Iterator[Reference]:
    """Yield every image of the study: those of the verdict, then received ones that it doesn't name."""
    for series in verdict.series:
        for finding in series.findings:
            yield Reference(
                series_instance_uid=finding.attributes.series_instance_uid,
                sop_class_uid=finding.attributes.sop_class_uid,
                sop_instance_uid=finding.attributes.sop_instance_uid,
            )
    for uid in sorted(set(sources) - set(_uids(verdict))):
        reference = _reference(uid, sources[uid])
        if reference is not None:
            yield reference


def _reference(sop_instance_uid: str, path: Path) -> Reference | None:
    header = read_header(path, ["SOPClassUID", "SeriesInstanceUID"])
    series, sop_class = (ascii_value(header, keyword) for keyword in ("SeriesInstanceUID", "SOPClassUID"))
    if not series or not sop_class:
        return None
    return Reference(series_instance_uid=series, sop_class_uid=sop_class, sop_instance_uid=sop_instance_uid)


def _uids(verdict: Verdict) -> Iterator[str]:
    return (finding.attributes.sop_instance_uid for series in verdict.series for finding in series.findings)
