"""Build one report: the verdict's content tree, the document around it, and the Part 10 file on disk."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medfake_pacs import __version__
from medfake_pacs.entities import ModelIdentity, Report, SeriesVerdict, Verdict
from medfake_pacs.errors import ReportError
from medfake_pacs.report import document
from medfake_pacs.report.document import DocumentIdentity, Reference
from medfake_pacs.report.files import write_durably
from medfake_pacs.report.groups import GroupBuilder
from medfake_pacs.report.settings import ReportSettings
from medfake_pacs.report.subject import Subject, raw_value, read_header, read_subject
from medfake_pacs.report.tree import measurement_report
from medfake_pacs.report.uids import UUID_ROOT, derive_uid

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
IMPLEMENTATION_CLASS_UID = derive_uid(UUID_ROOT, "medfake_pacs", "implementation")
_SOP_CLASSES = {"88.34": COMPREHENSIVE_3D_SR, "88.33": COMPREHENSIVE_SR}


def build_report(
    *,
    verdict: Verdict,
    sources: Mapping[str, Path],
    settings: ReportSettings,
    now: datetime,
    predecessor: Report | None,
    output_dir: Path,
    sop_class: str = "88.34",
) -> Report:
    """Write the report on ``verdict`` into ``output_dir`` and return where it is.

    ``sources`` maps the SOP Instance UID of every image received to its Part 10 file. The same arguments
    give the same bytes, so that a repeated step repeats the same object.

    Raises:
        ReportError: the verdict names no study.
        OSError: the file could not be written.
    """
    if not verdict.study_instance_uid:
        raise ReportError("the verdict names no study: a report needs a Study Instance UID")
    identity = _identity(verdict, settings, _SOP_CLASSES[sop_class])
    subject = _subject(verdict, sources)
    dataset = document.header(identity, subject, settings, now)
    labels = [_series_label(number, series, sources) for number, series in enumerate(verdict.series, start=1)]
    groups = GroupBuilder(verdict, settings.uid_root, labels)
    root = measurement_report(verdict, settings, identity.device_uid, groups)
    dataset.CompletionFlag = "COMPLETE" if is_complete(verdict) else "PARTIAL"
    _add_references(dataset, verdict, sources, settings, predecessor)
    dataset.ContributingEquipmentSequence = document.contributing_equipment(
        _model_devices(verdict, settings.uid_root), settings, identity, now
    )
    document.finish(dataset, root, subject)
    return _store(dataset, verdict, predecessor, output_dir)


def is_complete(verdict: Verdict) -> bool:
    """Say whether every image that a model was to assess was assessed; a series without model doesn't count."""
    return all(series.images_scored >= series.images_total for series in verdict.series if series.model is not None)


def _identity(verdict: Verdict, settings: ReportSettings, sop_class_uid: str) -> DocumentIdentity:
    root, study, node = settings.uid_root, verdict.study_instance_uid, settings.node_ae_title
    models = sorted({series.model.sha256 for series in verdict.series if series.model})
    return DocumentIdentity(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=derive_uid(root, "report", sop_class_uid, study, verdict.revision, models, node),
        study_instance_uid=study,
        series_instance_uid=derive_uid(root, "series", study, node),
        instance_number=max(verdict.revision, 1),
        device_uid=settings.device_uid or derive_uid(root, "device", node, settings.device_serial_number),
    )


def _model_devices(verdict: Verdict, root: str) -> Mapping[str, ModelIdentity]:
    models = [series.model for series in verdict.series if series.model]
    return {derive_uid(root, "model", model.name, model.version, model.sha256): model for model in models}


def _subject(verdict: Verdict, sources: Mapping[str, Path]) -> Subject:
    """Read the headers; where they tell nothing, fall back on what was recorded at reception."""
    subject = read_subject(sources.values())
    if subject.get("PatientID"):
        return subject
    return subject


def _series_label(ordinal: int, series: SeriesVerdict, sources: Mapping[str, Path]) -> str:
    """Return the Series Number that viewers show, or the place in this report where there is none."""
    path = next(
        (sources[f.attributes.sop_instance_uid] for f in series.findings if f.attributes.sop_instance_uid in sources),
        None,
    )
    header = read_header(path, ["SeriesNumber"]) if path else None
    number = raw_value(header, "SeriesNumber").strip(b" \0").decode("ascii", "replace") if header is not None else ""
    return number if re.fullmatch(r"[+-]?\d{1,12}", number) else f"#{ordinal}"


def _add_references(
    dataset: Dataset,
    verdict: Verdict,
    sources: Mapping[str, Path],
    settings: ReportSettings,
    predecessor: Report | None,
) -> None:
    evidence = document.evidence(verdict.study_instance_uid, _evidence(verdict, sources))
    if evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = evidence
    if predecessor is not None:
        reference = Reference(
            series_instance_uid=dataset.SeriesInstanceUID,
            sop_class_uid=predecessor.sop_class_uid,
            sop_instance_uid=predecessor.sop_instance_uid,
        )
        dataset.PredecessorDocumentsSequence = document.evidence(predecessor.study_instance_uid, iter([reference]))


def _evidence(verdict: Verdict, sources: Mapping[str, Path]) -> Iterator[Reference]:
    for series in verdict.series:
        for finding in series.findings:
            yield Reference(
                series_instance_uid=finding.attributes.series_instance_uid,
                sop_class_uid=finding.attributes.sop_class_uid,
                sop_instance_uid=finding.attributes.sop_instance_uid,
            )


def _store(dataset: Dataset, verdict: Verdict, predecessor: Report | None, output_dir: Path) -> Report:
    encoded = encode(dataset)
    path = output_dir / f"{dataset.SOPInstanceUID}.dcm"
    write_durably(path, encoded)
    return Report(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        study_instance_uid=verdict.study_instance_uid,
        revision=verdict.revision,
        path=path,
        sha256=hashlib.sha256(encoded).hexdigest(),
        predecessor_uid=predecessor.sop_instance_uid if predecessor else "",
    )


def encode(dataset: Dataset) -> bytes:
    """Return ``dataset`` as a Part 10 file in Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"MEDFAKE_{__version__}"[:16]
    dataset.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
