"""What the offline commands need of a file: is it DICOM, and what does its header say?"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom.errors import InvalidDicomError

from medfake_pacs.entities import ImageAttributes
from medfake_pacs.errors import CannotUnderstandError, MedfakeError
from medfake_pacs.spool.header import configure_reading, read_attributes, read_file_meta

RASTER_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_MAGIC_OFFSET = 128
_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"


def files_under(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every file that is named, or lies under a folder that is named, in a steady order.

    Raises
    ------
    MedfakeError
        If there is no such file or folder.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(item for item in path.rglob("*") if item.is_file() and not item.name.startswith("."))
        elif path.exists():
            yield path
        else:
            raise MedfakeError(f"{path}: there is no such file or folder")


def is_raster(path: Path) -> bool:
    """Tell whether a file is to be read as PNG or JPEG."""
    return path.suffix.lower() in RASTER_SUFFIXES


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
        return read_attributes(path, data_set_offset=0, transfer_syntax_uid=_IMPLICIT_VR_LITTLE_ENDIAN)
    try:
        meta, offset = read_file_meta(path)
        syntax = str(meta.TransferSyntaxUID)
    except (AttributeError, EOFError, InvalidDicomError, KeyError, ValueError) as error:
        raise CannotUnderstandError("the File Meta Information can't be read") from error
    return read_attributes(path, data_set_offset=offset, transfer_syntax_uid=syntax)
