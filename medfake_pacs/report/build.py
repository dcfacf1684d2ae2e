"""Build one report: the verdict's content tree, the document around it, and the Part 10 file on disk."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medfake_pacs import __version__
from medfake_pacs.entities import ModelIdentity, Report, Verdict
from medfake_pacs.errors import ReportError
from medfake_pacs.report import document, equipment, wording
from medfake_pacs.report import sources as received
from medfake_pacs.report.document import DocumentIdentity
from medfake_pacs.report.files import write_durably
from medfake_pacs.report.groups import GroupBuilder
from medfake_pacs.report.headers import ascii_value, read_header
from medfake_pacs.report.settings import ReportSettings
from medfake_pacs.report.sources import Reference
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

    ``sources`` maps the SOP Instance UID of every image received to its Part 10 file; a file that is missing
    or can't be parsed is done without. ``now`` is an aware time; it is written in the time zone that the
    sources name, else in this machine's. The same arguments give the same bytes, so that a step that runs
    again makes the same object.

    Raises:
        ReportError: the verdict names no study, or ``sop_class`` is neither 88.34 nor 88.33.
        OSError: the file could not be written.
    """
    if not verdict.study_instance_uid:
        raise ReportError("the verdict names no study: a report needs a Study Instance UID")
    if sop_class not in _SOP_CLASSES:
        raise ReportError(f"no report can be of SOP class {sop_class!r}: choose 88.34 or 88.33")
    identity = _identity(verdict, settings, _SOP_CLASSES[sop_class])
    subject = received.subject_of(verdict, sources)
    dataset = document.header(identity, subject, settings, now)
    dataset.CompletionFlag = "COMPLETE" if is_complete(verdict) else "PARTIAL"
    if _all_synthetic(verdict):
        dataset.SyntheticData = "YES"
    dataset.ContributingEquipmentSequence = equipment.contributing(
        settings, identity.device_uid, _model_devices(verdict, settings.uid_root), now
    )
    _add_references(dataset, verdict, sources, predecessor)
    labels = [received.series_label(place, each, sources) for place, each in enumerate(verdict.series, start=1)]
    groups = GroupBuilder(verdict, settings.uid_root, labels)
    document.finish(dataset, measurement_report(verdict, settings, identity.device_uid, groups), subject)
    return store(
        dataset,
        output_dir,
        study_instance_uid=verdict.study_instance_uid,
        revision=verdict.revision,
        predecessor_uid=predecessor.sop_instance_uid if predecessor else "",
    )


def is_complete(verdict: Verdict) -> bool:
    """Say whether every image that a route takes was decoded; localizers are left out on purpose."""
    return not any(wording.is_missed(series, finding) for series in verdict.series for finding in series.findings)


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


def _identity(verdict: Verdict, settings: ReportSettings, sop_class_uid: str) -> DocumentIdentity:
    root, study, node = settings.uid_root, verdict.study_instance_uid, settings.node_ae_title
    models = sorted({series.model.sha256 for series in verdict.series if series.model})
    occasion = [settings.occasion] if settings.occasion else []
    return DocumentIdentity(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=derive_uid(root, "report", sop_class_uid, study, verdict.revision, models, node, *occasion),
        study_instance_uid=study,
        series_instance_uid=derive_uid(root, "series", study, node, *occasion),
        instance_number=max(verdict.revision, 1),
        device_uid=settings.device_uid or derive_uid(root, "device", node, settings.device_serial_number),
    )


def _model_devices(verdict: Verdict, root: str) -> Mapping[str, ModelIdentity]:
    models = [series.model for series in verdict.series if series.model]
    return {derive_uid(root, "model", model.name, model.version, model.sha256): model for model in models}


def _all_synthetic(verdict: Verdict) -> bool:
    """Say whether the report speaks of nothing but images that are declared synthetic (0008,001C)."""
    findings = [finding for series in verdict.series for finding in series.findings]
    return bool(findings) and all(finding.declared_synthetic for finding in findings)


def _add_references(
    dataset: Dataset, verdict: Verdict, sources: Mapping[str, Path], predecessor: Report | None
) -> None:
    evidence = document.hierarchical(verdict.study_instance_uid, received.references(verdict, sources))
    if evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = evidence
    if predecessor is not None:
        series = ascii_value(read_header(predecessor.path, ["SeriesInstanceUID"]), "SeriesInstanceUID")
        reference = Reference(
            series_instance_uid=series or dataset.SeriesInstanceUID,
            sop_class_uid=predecessor.sop_class_uid,
            sop_instance_uid=predecessor.sop_instance_uid,
        )
        dataset.PredecessorDocumentsSequence = document.hierarchical(predecessor.study_instance_uid, [reference])


def store(
    dataset: Dataset, output_dir: Path, *, study_instance_uid: str, revision: int, predecessor_uid: str = ""
) -> Report:
    """Write a finished document durably into ``output_dir``, named by its UID, and return where it is.

    Raises:
        OSError: the file could not be written.
    """
    encoded = encode(dataset)
    path = output_dir / f"{dataset.SOPInstanceUID}.dcm"
    write_durably(path, encoded)
    return Report(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        study_instance_uid=study_instance_uid,
        revision=revision,
        path=path,
        sha256=hashlib.sha256(encoded).hexdigest(),
        predecessor_uid=predecessor_uid,
    )
