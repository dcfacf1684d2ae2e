"""Recognise our own reports when a PACS routes them back, so that they can't loop."""

import struct
import warnings
from collections.abc import Iterable, Iterator

from pydicom.dataset import Dataset

from medfake_pacs.report.scheme import SCHEME_DESIGNATOR, SCHEME_UID

_SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88."
# Root, container, measurement group, content item: no verdict of ours lies deeper.
_MAX_DEPTH = 4
_MALFORMED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError,
    OverflowError, RecursionError, OSError, EOFError, struct.error,
)  # fmt: skip


def is_own_report(dataset: Dataset) -> bool:
    """Say whether ``dataset`` is a report of this software, made by this node or another.

    It is one if it is a Structured Report that declares our coding scheme (0008,0110) or, where an archive
    took the declaration out, uses a code of it. Never raises, however malformed ``dataset`` is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if not _text(dataset, "SOPClassUID").startswith(_SR_STORAGE):
            return False
        schemes = _items(dataset, "CodingSchemeIdentificationSequence")
        if any(_is_ours(item) or _text(item, "CodingSchemeUID") == SCHEME_UID for item in schemes):
            return True
        return any(_is_ours(code) for code in _codes(dataset, _MAX_DEPTH))


def _is_ours(item: Dataset) -> bool:
    return _text(item, "CodingSchemeDesignator") == SCHEME_DESIGNATOR


def _codes(item: Dataset, depth: int) -> Iterator[Dataset]:
    yield from _items(item, "ConceptNameCodeSequence")
    if depth:
        for child in _items(item, "ContentSequence"):
            yield from _codes(child, depth - 1)


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "")
    except _MALFORMED:
        return ""


def _items(dataset: Dataset, keyword: str) -> Iterable[Dataset]:
    try:
        value = dataset.get(keyword) or ()
        return [item for item in value if isinstance(item, Dataset)]
    except _MALFORMED:
        return ()
