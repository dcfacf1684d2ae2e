"""The same report as Comprehensive SR, for destinations that don't take Comprehensive 3D SR."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from medfake_pacs.report.build import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR
from medfake_pacs.report.uids import UUID_ROOT, derive_uid


def as_comprehensive(report: Path | Dataset) -> Dataset:
    """Return a copy of ``report`` (1.2.840.10008.5.1.4.1.1.88.34) re-typed as 1.2.840.10008.5.1.4.1.1.88.33.

    The content has no 3D coordinates, so that it is valid as it is. The copy is another instance and has a
    UID of its own, made from the original's; predecessors and the report that a review is about are named by
    the UIDs that their copies have.
    """
    dataset = dcmread(report) if isinstance(report, Path) else deepcopy(report)
    if dataset.SOPClassUID != COMPREHENSIVE_3D_SR:
        return dataset
    dataset.SOPClassUID = COMPREHENSIVE_SR
    dataset.SOPInstanceUID = _twin_uid(dataset.SOPInstanceUID)
    references = [*_references(dataset, "PredecessorDocumentsSequence")]
    reviewed = [*_references(dataset, "CurrentRequestedProcedureEvidenceSequence")]
    reviewed = [each for each in reviewed if each.ReferencedSOPClassUID == COMPREHENSIVE_3D_SR]
    if reviewed:
        references += [*reviewed, *_composites(dataset)]
    for reference in references:
        _retype(reference)
    if hasattr(dataset, "file_meta"):
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _references(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    for study in dataset.get(keyword, ()):
        for series in study.ReferencedSeriesSequence:
            yield from series.ReferencedSOPSequence


def _composites(item: Dataset) -> Iterator[Dataset]:
    """Yield the references of the COMPOSITE content items below ``item``."""
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "COMPOSITE":
            yield from child.ReferencedSOPSequence
        yield from _composites(child)


def _retype(reference: Dataset) -> None:
    if reference.ReferencedSOPClassUID == COMPREHENSIVE_3D_SR:
        reference.ReferencedSOPClassUID = COMPREHENSIVE_SR
        reference.ReferencedSOPInstanceUID = _twin_uid(reference.ReferencedSOPInstanceUID)


def _twin_uid(uid: str) -> str:
    return derive_uid(UUID_ROOT, "comprehensive", str(uid))
