"""Content items of a Structured Report (PS3.3 C.17.3) as pydicom data sets.

highdicom has these too, but takes 5 s for 400 images with a finding each, because it copies and re-checks
the whole tree; here repeated code sequences are encoded once and reused as raw bytes.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from pydicom import config
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence
from pydicom.sequence import Sequence as ItemSequence
from pydicom.tag import BaseTag, Tag

from medfake_pacs.report.scheme import Concept

CONTAINS = "CONTAINS"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
SELECTED_FROM = "SELECTED FROM"

NO_UNITS = Concept("1", "UCUM", "no units")
IMAGES_UNIT = Concept("{images}", "UCUM", "images")
SOURCE = Concept("260753009", "SCT", "Source")

_CONCEPT_NAME = Tag(0x0040, 0xA043)
_CONCEPT_CODE = Tag(0x0040, 0xA168)
_UNITS_CODE = Tag(0x0040, 0x08EA)
_UID = Tag(0x0040, 0xA124)
_REFERENCED_CLASS = Tag(0x0008, 0x1150)
_REFERENCED_INSTANCE = Tag(0x0008, 0x1155)


def uid_element(tag: BaseTag, uid: str) -> DataElement:
    """Return a UI element of a received UID, which has to be repeated as it is even where it is malformed."""
    return DataElement(tag, "UI", uid, validation_mode=config.IGNORE)


def code_item(concept: Concept) -> Dataset:
    """Return one item of a code sequence (PS3.3 8.1)."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme
    item.CodeMeaning = concept.meaning
    return item


@lru_cache(maxsize=512)
def code_sequence(tag: BaseTag, concept: Concept) -> RawDataElement:
    """Return a code sequence of one item as an immutable element, encoded in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_sequence(buffer, DataElement(tag, "SQ", ItemSequence([code_item(concept)])), ["iso8859"])
    encoded = buffer.getvalue()
    return RawDataElement(tag, "SQ", len(encoded), encoded, 0, False, True)


def _item(relationship: str, value_type: str, name: Concept) -> Dataset:
    item = Dataset()
    if relationship:
        item.RelationshipType = relationship
    item.ValueType = value_type
    item[_CONCEPT_NAME] = code_sequence(_CONCEPT_NAME, name)
    return item


def container(relationship: str, name: Concept, content: Iterable[Dataset], template: str = "") -> Dataset:
    """CONTAINER: a heading; ``template`` is the number of the DCMR template that it follows."""
    item = _item(relationship, "CONTAINER", name)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        identification = Dataset()
        identification.MappingResource = "DCMR"
        identification.TemplateIdentifier = template
        item.ContentTemplateSequence = [identification]
    item.ContentSequence = ItemSequence(content)
    return item


def text(relationship: str, name: Concept, value: str) -> Dataset:
    """TEXT: ``value`` must not be empty (Text Value is type 1)."""
    item = _item(relationship, "TEXT", name)
    item.TextValue = value
    return item


def code(relationship: str, name: Concept, value: Concept, content: Sequence[Dataset] = ()) -> Dataset:
    """CODE: a coded answer, with modifiers as its own content."""
    item = _item(relationship, "CODE", name)
    item[_CONCEPT_CODE] = code_sequence(_CONCEPT_CODE, value)
    if content:
        item.ContentSequence = ItemSequence(content)
    return item


def uidref(relationship: str, name: Concept, uid: str) -> Dataset:
    """UIDREF: a UID as a value."""
    item = _item(relationship, "UIDREF", name)
    item[_UID] = uid_element(_UID, uid)
    return item


def number(name: Concept, value: float, unit: Concept) -> Dataset:
    """NUM: a measurement; Numeric Value is a DS, of at most 16 characters."""
    measured = Dataset()
    measured.NumericValue = f"{value:.6g}"
    measured[_UNITS_CODE] = code_sequence(_UNITS_CODE, unit)
    item = _item(CONTAINS, "NUM", name)
    item.MeasuredValueSequence = [measured]
    return item


def image(relationship: str, sop_class_uid: str, sop_instance_uid: str, frames: Sequence[int] = ()) -> Dataset:
    """IMAGE: a reference; ``frames`` are counted from 1 and only given for multi-frame images."""
    reference = Dataset()
    reference[_REFERENCED_CLASS] = uid_element(_REFERENCED_CLASS, sop_class_uid)
    reference[_REFERENCED_INSTANCE] = uid_element(_REFERENCED_INSTANCE, sop_instance_uid)
    if frames:
        reference.ReferencedFrameNumber = list(frames)
    item = _item(relationship, "IMAGE", SOURCE)
    item.ReferencedSOPSequence = [reference]
    return item


def polyline(name: Concept, points: Sequence[tuple[float, float]], source: Dataset) -> Dataset:
    """SCOORD: ``points`` are (column, row); 0,0 is the outer corner of the top left pixel (PS3.3 C.18.6)."""
    item = _item(CONTAINS, "SCOORD", name)
    item.GraphicData = [coordinate for point in points for coordinate in point]
    item.GraphicType = "POLYLINE"
    item.ContentSequence = ItemSequence([source])
    return item
