"""Assess files that no peer sent: `classify` and the console's checks take the same model for the same file."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.errors import InvalidDicomError

from medfake_pacs.config import Settings
from medfake_pacs.entities import ImageAttributes
from medfake_pacs.errors import CannotUnderstandError
from medfake_pacs.pixels.raster import is_raster
from medfake_pacs.routing import choose_route
from medfake_pacs.spool.header import configure_reading, read_attributes, read_file_meta

_MAGIC_OFFSET = 128
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
CHOOSE_THE_MODEL = "a PNG or JPEG file doesn't say what it shows: choose the model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What people call the images that a model is for, and by which headers they are known.

    ``body_parts`` are words of Body Part Examined or of the descriptions; ``model`` is the bundle's name.
    """

    model: str
    name: str
    modalities: frozenset[str]
    body_parts: frozenset[str] = field(default_factory=frozenset)


_X_RAY = frozenset({"CR", "DX", "RG"})
_CHEST = frozenset({"CHEST", "THORAX", "LUNG", "LUNGS"})
SUBJECTS = (
    Subject(model="lung-ct", name="Lung CT", modalities=frozenset({"CT"}), body_parts=_CHEST),
    Subject(model="knee-xr", name="Knee X-ray", modalities=_X_RAY, body_parts=frozenset({"KNEE", "KNEES"})),
    Subject(model="chest-xr", name="Chest X-ray", modalities=_X_RAY, body_parts=_CHEST),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileImage:
    """One file and what it was taken for; ``loose`` images stand for themselves, others for their series."""

    path: Path
    attributes: ImageAttributes
    loose: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model assesses images, or why none does."""

    model: str = ""
    reason: str = ""


def is_part_10(path: Path) -> bool:
    """Tell whether a file has the preamble and prefix of PS3.10 7.1."""
    with path.open("rb") as file:
        return file.read(_MAGIC_OFFSET + 4)[_MAGIC_OFFSET:] == b"DICM"


def header_of(path: Path) -> ImageAttributes:
    """Return the header of a DICOM file; without File Meta Information it is taken as Implicit VR Little Endian.

    Raises
    ------
    CannotUnderstandError
        If it can't be parsed or lacks a UID.
    """
    configure_reading()
    if not is_part_10(path):
        return read_attributes(path, data_set_offset=0, transfer_syntax_uid=IMPLICIT_VR_LITTLE_ENDIAN)
    try:
        meta, offset = read_file_meta(path)
        syntax = str(meta.TransferSyntaxUID)
    except (AttributeError, EOFError, InvalidDicomError, KeyError, ValueError) as error:
        raise CannotUnderstandError("the File Meta Information can't be read") from error
    return read_attributes(path, data_set_offset=offset, transfer_syntax_uid=syntax)


def look_at(index: int, path: Path) -> FileImage:
    """Return what a file is: a DICOM object of a series, or a loose image (or no image at all)."""
    loose = ImageAttributes(
        sop_class_uid="", sop_instance_uid="", study_instance_uid="", series_instance_uid=f"{index}:{path}"
    )
    if is_raster(path):
        return FileImage(path=path, attributes=loose, loose=True)
    try:
        return FileImage(path=path, attributes=header_of(path), loose=False)
    except CannotUnderstandError:
        return FileImage(path=path, attributes=loose, loose=True)


def choose_model(
    settings: Settings, attributes: ImageAttributes, installed: Sequence[str], modality_of: Callable[[str], str]
) -> ModelChoice:
    """Return the model for a series, by its first image's header.

    A route of the configuration decides, as it would had the first peer sent the image; where none matches, the
    one installed model that is for its Modality and, as far as the header names one, its body part.
    ``modality_of`` gives an installed model's Modality as its card has it.
    """
    calling = settings.peers[0].ae_title if settings.peers else ""
    routing = choose_route(settings.routes, attributes, calling, settings.node.ae_title)
    if routing.route is not None:
        return ModelChoice(model=routing.model, reason=routing.reason)
    if not attributes.modality:
        reason = "the file doesn't say its Modality" if attributes.sop_class_uid else CHOOSE_THE_MODEL
        return ModelChoice(reason=f"{reason}: {_names(installed)}" if installed else reason)
    fitting = [name for name in installed if _fits(name, attributes, modality_of(name))]
    if len(fitting) == 1:
        return ModelChoice(model=fitting[0])
    shown = f"Modality {attributes.modality}, Body Part Examined {attributes.body_part or '(absent)'}"
    what = f"{len(fitting)} models fit" if fitting else "no model is for"
    return ModelChoice(reason=f"{what} {shown}; choose one: {_names(installed)}")


def _names(installed: Iterable[str]) -> str:
    return ", ".join(installed) or "none is installed"


def _fits(name: str, attributes: ImageAttributes, card_modality: str) -> bool:
    subject = next((item for item in SUBJECTS if item.model == name), None)
    modalities = (subject.modalities if subject else frozenset()) | {card_modality.upper()}
    if attributes.modality.strip().upper() not in modalities:
        return False
    # A header that names another part rules a model out; one that names none doesn't.
    part = attributes.body_part.strip().upper()
    descriptions = f"{attributes.study_description} {attributes.series_description}".upper()
    words = set(re.findall(r"[A-Z]+", part)) or set(re.findall(r"[A-Z]+", descriptions)) & _known_parts()
    return not words or not subject or bool(words & subject.body_parts)


def _known_parts() -> frozenset[str]:
    return frozenset().union(*(subject.body_parts for subject in SUBJECTS))
