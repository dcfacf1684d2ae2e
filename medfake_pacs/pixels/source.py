"""Opening a Part 10 file: header into memory, pixel data left where it is, inflation bounded (PS3.10 7, PS3.5 A.5)."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag, Tag

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.library import library_call
from medfake_pacs.pixels.limits import PixelLimits
from medfake_pacs.pixels.syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

UNDEFINED_LENGTH = 0xFFFFFFFF
PIXEL_KEYWORDS = {0x0010: "PixelData", 0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}
_HEADER_ROOM_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_PREAMBLE_BYTES = 132

# Reading these alone skips whatever else a header holds, however large that is.
_KEYWORDS = (
    "SOPClassUID",
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "FloatPixelPaddingValue",
    "FloatPixelPaddingRangeLimit",
    "DoubleFloatPixelPaddingValue",
    "DoubleFloatPixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ModalityLUTSequence",
    "LossyImageCompression",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_TAGS: tuple[BaseTag, ...] = tuple(Tag(keyword) for keyword in _KEYWORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelElement:
    """Where the pixel data is: ``offset`` of the value in the file, ``available`` bytes from there to the end."""

    keyword: str
    vr: str
    offset: int
    length: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An open file, its header and where its pixel data is; the file is open as long as the context manager."""

    file: BinaryIO
    dataset: FileDataset
    transfer_syntax_uid: str
    element: PixelElement


class _File(io.BufferedReader):
    """A file that never allocates more than it holds, whatever length an element claims to have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _CHUNK_BYTES:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


@contextmanager
def open_source(path: Path | str, limits: PixelLimits) -> Iterator[Source]:
    """Open an image file and read its header, without its pixels.

    Raises
    ------
    PixelError
        The file can't be read, isn't DICOM, has no pixel data, or inflates beyond the limits.
    """
    try:
        file = _File(io.FileIO(path))
    except OSError as error:
        raise PixelError(f"the file can't be opened: {error.strerror}") from error
    with file:
        with library_call("the header can't be read"):
            source = _read(file, limits)
        yield source


def _read(file: BinaryIO, limits: PixelLimits) -> Source:
    meta_uid, offset = _file_meta(file)
    stream: BinaryIO = file
    if meta_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        bound = min(limits.max_decoded_bytes + _HEADER_ROOM_BYTES, limits.max_memory_bytes // 2)
        stream = _inflated(file, offset, bound)
    stream.seek(0)
    dataset = dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
    uid = meta_uid or _guessed_syntax(dataset)
    if not offset and "Rows" not in dataset and "SOPClassUID" not in dataset:
        raise PixelError("not a DICOM file")
    return Source(file=stream, dataset=dataset, transfer_syntax_uid=uid, element=_pixel_element(stream, dataset))


def _file_meta(file: BinaryIO) -> tuple[str, int]:
    """Return the Transfer Syntax UID and where the data set starts (PS3.10 7.1); ("", 0) where that isn't told."""
    head = file.read(_PREAMBLE_BYTES)
    if head[128:] != b"DICM":
        if head[:2] != b"\x02\x00":
            return "", 0
        file.seek(0)
    uid = ""
    while True:
        start = file.tell()
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return uid, start
        length = struct.unpack("<H", head[6:])[0]
        if head[4:6] in (b"OB", b"UN", b"OW", b"SQ", b"UT"):
            length = struct.unpack("<L", file.read(4))[0]
        if head[2:4] == b"\x10\x00":
            value = file.read(length).decode("ascii", "replace").strip(" \0")
            uid = uid or value
        else:
            file.seek(length, os.SEEK_CUR)


def _guessed_syntax(dataset: FileDataset) -> str:
    """Return the uncompressed transfer syntax that pydicom recognised in a file that names none."""
    implicit, little = dataset.original_encoding
    if implicit:
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_LITTLE_ENDIAN if little else EXPLICIT_VR_BIG_ENDIAN


def _inflated(file: BinaryIO, offset: int, max_bytes: int) -> BinaryIO:
    """Return the file with its data set inflated, as Explicit VR Little Endian; at most ``max_bytes`` of it."""
    file.seek(0)
    head = file.read(offset).replace(
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN.encode(), EXPLICIT_VR_LITTLE_ENDIAN.encode() + b"\0\0\0"
    )
    target = io.BytesIO()
    target.write(head)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pending = file.read(_CHUNK_BYTES)
    while pending and not inflater.eof:
        target.write(inflater.decompress(pending, _CHUNK_BYTES))
        if target.tell() > max_bytes:
            raise PixelError(f"the deflated data set is larger than {max_bytes} bytes when inflated")
        pending = inflater.unconsumed_tail or file.read(_CHUNK_BYTES)
    return target


def _pixel_element(stream: BinaryIO, dataset: FileDataset) -> PixelElement:
    """Parse the head of the pixel data element, where the header's reader stopped (PS3.5 7.1)."""
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    head = stream.read(8)
    if len(head) < 8:
        raise PixelError("no pixel data")
    group, element = struct.unpack(f"{order}HH", head[:4])
    if group != 0x7FE0 or element not in PIXEL_KEYWORDS:
        raise PixelError("no pixel data")
    vr = "OW"
    if implicit or not head[4:6].isalpha():
        length = struct.unpack(f"{order}L", head[4:])[0]
    else:
        vr = head[4:6].decode("ascii")
        extended = stream.read(4)
        if len(extended) < 4:
            raise PixelError("truncated pixel data: the element has no length")
        length = struct.unpack(f"{order}L", extended)[0]
    offset = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    return PixelElement(keyword=PIXEL_KEYWORDS[element], vr=vr, offset=offset, length=length, available=end - offset)
