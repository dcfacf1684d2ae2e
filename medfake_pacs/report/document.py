"""The modules around the content tree: patient, study, series, equipment, SR document, evidence.

References: PS3.3 A.35.13 (Comprehensive 3D SR IOD), C.17.1, C.17.2, C.12.1.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom.charset import default_encoding
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medfake_pacs.report import charset, content, sanitise, scheme
from medfake_pacs.report.content import Item
from medfake_pacs.report.encoding import TreeEncoder
from medfake_pacs.report.equipment import add_equipment
from medfake_pacs.report.scheme import code_item
from medfake_pacs.report.settings import ReportSettings
from medfake_pacs.report.sources import Reference
from medfake_pacs.report.subject import TYPE_2, Subject

SERIES_DESCRIPTION = "Image authenticity (AI) - research use, not for diagnosis"
_CONTENT_SEQUENCE = Tag("ContentSequence")
_MAX_LONG_STRING = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentIdentity:
    """The UIDs of a report and its place in the series; ``device_uid`` names the node."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    instance_number: int
    device_uid: str


def header(identity: DocumentIdentity, subject: Subject, settings: ReportSettings, now: datetime) -> Dataset:
    """Return the report's data set without content tree, references and character set.

    ``now`` is written in the time zone that the sources name (0008,0201), else in this machine's.
    """
    dataset = Dataset()
    local = _in_zone(now, subject.get("TimezoneOffsetFromUTC"))
    _add_patient_and_study(dataset, subject)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        _set_uid(dataset, keyword, getattr(identity, _FIELDS[keyword]))
    dataset.Modality = "SR"
    dataset.SeriesNumber = settings.series_number
    dataset.InstanceNumber = identity.instance_number
    dataset.SeriesDescription = SERIES_DESCRIPTION
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY" if settings.preliminary else "FINAL"
    dataset.ContentDate = dataset.InstanceCreationDate = local.strftime("%Y%m%d")
    dataset.ContentTime = dataset.InstanceCreationTime = local.strftime("%H%M%S.%f")
    add_equipment(dataset, settings)
    _set_uid(dataset, "DeviceUID", identity.device_uid)
    dataset.CodingSchemeIdentificationSequence = [_coding_scheme(settings)]
    return dataset


_FIELDS = {
    "SOPClassUID": "sop_class_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
}


def _set_uid(dataset: Dataset, keyword: str, uid: str) -> None:
    # A received UID has to be repeated as it is, even where it is malformed: pydicom would warn of it.
    dataset[keyword] = DataElement(Tag(keyword), "UI", uid, validation_mode=IGNORE)


def _in_zone(now: datetime, offset: str) -> datetime:
    if not offset:
        return now.astimezone()
    delta = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
    return now.astimezone(timezone(-delta if offset.startswith("-") else delta))


def _add_patient_and_study(dataset: Dataset, subject: Subject) -> None:
    for keyword in TYPE_2:
        _set_text(dataset, keyword, subject.get(keyword))
    for keyword in ("IssuerOfPatientID", "StudyDescription", "TimezoneOffsetFromUTC"):
        if subject.get(keyword):
            _set_text(dataset, keyword, subject.get(keyword))


def _set_text(dataset: Dataset, keyword: str, value: str) -> None:
    # Identifiers may be longer than their VR allows (sanitise.identifier): pydicom would warn of it.
    dataset[keyword] = DataElement(Tag(keyword), dictionary_VR(keyword), value, validation_mode=IGNORE)


def _coding_scheme(settings: ReportSettings) -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = scheme.SCHEME_DESIGNATOR
    item.CodingSchemeUID = scheme.SCHEME_UID
    item.CodingSchemeName = scheme.SCHEME_NAME
    item.CodingSchemeVersion = scheme.SCHEME_VERSION
    item.CodingSchemeResponsibleOrganization = sanitise.text(settings.manufacturer, _MAX_LONG_STRING) or "unknown"
    return item


def hierarchical(study_instance_uid: str, references: Iterable[Reference]) -> list[Dataset]:
    """Return the items of a Hierarchical SOP Instance Reference Macro (PS3.3 C.17.2.1): each instance once."""
    by_series: dict[str, list[Dataset]] = {}
    seen: set[str] = set()
    for reference in references:
        if reference.sop_instance_uid in seen:
            continue
        seen.add(reference.sop_instance_uid)
        item = Dataset()
        _set_uid(item, "ReferencedSOPClassUID", reference.sop_class_uid)
        _set_uid(item, "ReferencedSOPInstanceUID", reference.sop_instance_uid)
        by_series.setdefault(reference.series_instance_uid, []).append(item)
    if not by_series:
        return []
    study = Dataset()
    _set_uid(study, "StudyInstanceUID", study_instance_uid)
    study.ReferencedSeriesSequence = []
    for series_uid, items in by_series.items():
        series = Dataset()
        _set_uid(series, "SeriesInstanceUID", series_uid)
        series.ReferencedSOPSequence = items
        study.ReferencedSeriesSequence.append(series)
    return [study]


def finish(dataset: Dataset, root: Item, subject: Subject) -> None:
    """Add the content tree, and declare a character set that all text fits in: the sources', else UTF-8."""
    terms = charset.choose(subject.character_set, (*_texts(dataset), *content.texts(root)))
    if terms:
        dataset.SpecificCharacterSet = terms[0] if len(terms) == 1 else list(terms)
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [code_item(root.name)]
    identification = Dataset()
    identification.MappingResource = "DCMR"
    identification.TemplateIdentifier = root.value.identifier
    dataset.ContentTemplateSequence = [identification]
    value = TreeEncoder(terms).sequence_value(root.children)
    dataset[_CONTENT_SEQUENCE] = RawDataElement(_CONTENT_SEQUENCE, "SQ", len(value), value, 0, False, True)
    # Says that the tree is encoded already, so that pydicom writes it as it is.
    names = charset.codecs(terms) if terms else default_encoding
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=names)


def _texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR in ("LO", "SH", "PN", "ST", "UT"):
            yield str(element.value or "")
