"""Content items of a Structured Report (PS3.3 C.17.3) as plain values; ``encoding`` makes bytes of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from medfake_pacs.report.scheme import Concept

CONTAINS = "CONTAINS"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
SELECTED_FROM = "SELECTED FROM"

NO_UNITS = Concept("1", "UCUM", "no units")
IMAGES_UNIT = Concept("{images}", "UCUM", "images")
SOURCE = Concept("260753009", "SCT", "Source")
SOURCE_OF_MEASUREMENT = Concept("121112", "DCM", "Source of Measurement")


class Template(NamedTuple):
    """The value of a CONTAINER: the DCMR template that its content follows, or empty."""

    identifier: str


class Quantity(NamedTuple):
    """The value of a NUM item."""

    number: float
    unit: Concept


class ImageReference(NamedTuple):
    """The value of an IMAGE item; ``frames`` are counted from 1 and only given for multi-frame images."""

    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[int, ...] = ()


class CompositeReference(NamedTuple):
    """The value of a COMPOSITE item."""

    sop_class_uid: str
    sop_instance_uid: str


class Polyline(NamedTuple):
    """The value of an SCOORD item: (column, row) points; 0,0 is the outer corner of the top left pixel."""

    points: tuple[tuple[float, float], ...]


class Uid(str):
    """The value of a UIDREF item."""

    __slots__ = ()


class PersonName(str):
    """The value of a PNAME item."""

    __slots__ = ()


Value = str | Uid | PersonName | Concept | Quantity | Template | ImageReference | CompositeReference | Polyline


@dataclass(frozen=True, slots=True)
class Item:
    """One node of the content tree; the type of ``value`` decides the Value Type."""

    relationship: str
    name: Concept
    value: Value
    children: tuple["Item", ...] = ()


def container(relationship: str, name: Concept, children: Iterable[Item], template: str = "") -> Item:
    """CONTAINER: a heading."""
    return Item(relationship, name, Template(template), tuple(children))


def text(relationship: str, name: Concept, value: str) -> Item:
    """TEXT: ``value`` must not be empty (Text Value is type 1)."""
    return Item(relationship, name, value)


def code(relationship: str, name: Concept, value: Concept) -> Item:
    """CODE: a coded answer."""
    return Item(relationship, name, value)


def uidref(relationship: str, name: Concept, uid: str) -> Item:
    """UIDREF: a UID as a value."""
    return Item(relationship, name, Uid(uid))


def person(relationship: str, name: Concept, value: str) -> Item:
    """PNAME: the name of a person."""
    return Item(relationship, name, PersonName(value))


def composite(relationship: str, name: Concept, sop_class_uid: str, sop_instance_uid: str) -> Item:
    """COMPOSITE: a reference to an object that is no image."""
    return Item(relationship, name, CompositeReference(sop_class_uid, sop_instance_uid))


def number(name: Concept, value: float, unit: Concept) -> Item:
    """NUM: a measurement."""
    return Item(CONTAINS, name, Quantity(value, unit))


def image(
    relationship: str, name: Concept, sop_class_uid: str, sop_instance_uid: str, frames: Sequence[int] = ()
) -> Item:
    """IMAGE: a reference to an image or to some of its frames."""
    return Item(relationship, name, ImageReference(sop_class_uid, sop_instance_uid, tuple(frames)))


def polyline(name: Concept, points: Sequence[tuple[float, float]], source: Item) -> Item:
    """SCOORD: a line through ``points`` of the image ``source`` (PS3.3 C.18.6)."""
    return Item(CONTAINS, name, Polyline(tuple(points)), (source,))


def texts(item: Item) -> Iterator[str]:
    """Yield every free text of the tree, to choose a character set by."""
    if type(item.value) in (str, PersonName):
        yield str(item.value)
    for child in item.children:
        yield from texts(child)
