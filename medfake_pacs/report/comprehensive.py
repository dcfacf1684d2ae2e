"""The same report as Comprehensive SR, for destinations that don't take Comprehensive 3D SR."""

from copy import deepcopy
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from medfake_pacs.report.build import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR
from medfake_pacs.report.uids import UUID_ROOT, derive_uid


def as_comprehensive(report: Path | Dataset) -> Dataset:
    """Return a copy of ``report`` (1.2.840.10008.5.1.4.1.1.88.34) re-typed as 1.2.840.10008.5.1.4.1.1.88.33.

    The content has no 3D coordinates, so that it is valid as it is. The copy is another instance and has a
    UID of its own, made from the original's; predecessors are named by the UIDs that their copies have.
    """
    dataset = dcmread(report) if isinstance(report, Path) else deepcopy(report)
    if dataset.SOPClassUID != COMPREHENSIVE_3D_SR:
        return dataset
    dataset.SOPClassUID = COMPREHENSIVE_SR
    dataset.SOPInstanceUID = _twin_uid(dataset.SOPInstanceUID)
    for study in dataset.get("PredecessorDocumentsSequence", ()):
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                _retype(reference)
    if hasattr(dataset, "file_meta"):
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _retype(reference: Dataset) -> None:
    if reference.ReferencedSOPClassUID == COMPREHENSIVE_3D_SR:
        reference.ReferencedSOPClassUID = COMPREHENSIVE_SR
        reference.ReferencedSOPInstanceUID = _twin_uid(reference.ReferencedSOPInstanceUID)


def _twin_uid(uid: str) -> str:
    return derive_uid(UUID_ROOT, "comprehensive", str(uid))
