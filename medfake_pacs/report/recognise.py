"""Recognise our own reports when a PACS routes them back, so that they can't loop."""

from pydicom.dataset import Dataset

from medfake_pacs.report.scheme import SCHEME_DESIGNATOR, SCHEME_UID

_SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88."


def is_own_report(dataset: Dataset) -> bool:
    """Say whether ``dataset`` is a report of this software, made by this node or another."""
    if not str(dataset.get("SOPClassUID", "")).startswith(_SR_STORAGE):
        return False
    for item in dataset.get("CodingSchemeIdentificationSequence", ()):
        if item.get("CodingSchemeUID") == SCHEME_UID or item.get("CodingSchemeDesignator") == SCHEME_DESIGNATOR:
            return True
    return False
