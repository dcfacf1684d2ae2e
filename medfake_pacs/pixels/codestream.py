"""The codestream's own dimensions, read before a codec allocates memory for them."""

import struct
from dataclasses import dataclass

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.header import PixelModule

_SOF_EXCLUDED = (0xC4, 0xC8, 0xCC)
_JPEG_LS_SOF = 0xF7
_SOS = 0xDA
_STANDALONE = (0x01, *range(0xD0, 0xD9))
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_MAX_TILES = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A codestream's frame header: size in pixels, number of components, bits per sample."""

    rows: int
    columns: int
    components: int
    precision: int


def check_codestream(family: str, data: bytes, module: PixelModule, where: str = "") -> None:
    """Check that a frame's codestream is of the size that the header announced; ``where`` is " of frame 7" or empty.

    Raises
    ------
    PixelError
        It is of another kind or size, or cut off before its size is told.
    """
    if family == "rle":
        _check_rle(data, module)
    if family not in ("jpeg", "jpeg2000"):
        return
    frame = jpeg_frame(data) if family == "jpeg" else _jpeg_2000(data)
    subject = f"the codestream{where}"
    # Zero rows: the number of lines comes later, in a DNL segment (ISO/IEC 10918-1 B.2.5).
    if (frame.rows or module.rows, frame.columns) != (module.rows, module.columns):
        size = f"{frame.columns} x {frame.rows}"
        raise PixelError(f"{subject} is {size} pixels, the header says {module.columns} x {module.rows}")
    if frame.components != module.samples_per_pixel:
        raise PixelError(f"{subject} has {frame.components} components, the header says {module.samples_per_pixel}")
    if frame.precision > module.bits_allocated:
        raise PixelError(
            f"{subject} has {frame.precision} bits per sample, the header allocates {module.bits_allocated}"
        )


def is_cut_off(family: str, data: bytes) -> bool:
    """Tell whether a codestream lacks the marker that ends it: EOI of JPEG, EOC of JPEG 2000, both FFD9."""
    return family in ("jpeg", "jpeg2000") and not data.rstrip(b"\0").endswith(b"\xff\xd9")


def jpeg_frame(data: bytes) -> Frame:
    """Return the frame header of JPEG or JPEG-LS (ISO/IEC 10918-1 B.2.2, ISO/IEC 14495-1 C.2.2).

    Every segment up to the first scan is walked: GDCM takes the process down where it finds no marker between two.

    Raises
    ------
    PixelError
        The codestream has no frame header, or is damaged before its first scan.
    """
    if data[:2] != b"\xff\xd8":
        raise PixelError("the codestream is not JPEG: no SOI marker")
    position, frame = 2, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise PixelError("the codestream is damaged: no marker where one is due")
        marker = data[position + 1]
        if marker == _SOS and frame is not None:
            return frame
        if marker == 0xFF:
            position += 1
        elif marker in _STANDALONE:
            position += 2
        else:
            if marker == _JPEG_LS_SOF or (0xC0 <= marker <= 0xCF and marker not in _SOF_EXCLUDED):
                frame = _sof(data[position + 4 : position + 10])
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise PixelError("truncated codestream: no frame header and scan")


def _sof(segment: bytes) -> Frame:
    if len(segment) < 6:
        raise PixelError("truncated codestream: the frame header is cut off")
    precision, rows, columns, components = struct.unpack(">BHHB", segment)
    if not 2 <= precision <= 16:
        raise PixelError(f"the codestream is damaged: {precision} bits per sample")
    return Frame(rows=rows, columns=columns, components=components, precision=precision)


def _jpeg_2000(data: bytes) -> Frame:
    """Read the SIZ segment of JPEG 2000 or HTJ2K (ISO/IEC 15444-1 A.5.1)."""
    start = data.find(b"\xff\x4f\xff\x51") if data.startswith(_JP2_SIGNATURE) else 0
    if start < 0 or data[start : start + 4] != b"\xff\x4f\xff\x51":
        raise PixelError("the codestream is not JPEG 2000: no SOC and SIZ markers")
    segment = data[start + 8 : start + 8 + 35]
    if len(segment) < 35:
        raise PixelError("truncated codestream: the SIZ segment is cut off")
    x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components, depth = struct.unpack(">8LHB", segment)
    if not (tile_x and tile_y and x > x0 and y > y0 and x > tile_x0 and y > tile_y0):
        raise PixelError("the codestream is damaged: its SIZ segment is inconsistent")
    if -(-(x - tile_x0) // tile_x) * -(-(y - tile_y0) // tile_y) > _MAX_TILES:
        raise PixelError(f"the codestream has more than {_MAX_TILES} tiles")
    return Frame(rows=y - y0, columns=x - x0, components=components, precision=(depth & 0x7F) + 1)


def _check_rle(data: bytes, module: PixelModule) -> None:
    """Check the RLE header (PS3.5 G.5): as many segments as the samples have bytes, all of them within the frame."""
    if module.bits_allocated == 1:
        raise PixelError("RLE Lossless with Bits Allocated 1 is not supported")
    if len(data) < 64:
        raise PixelError(f"truncated codestream: {len(data)} of 64 bytes of the RLE header")
    segments, *offsets = struct.unpack("<16L", data[:64])
    needed = module.samples_per_pixel * max(1, module.bits_allocated // 8)
    if segments != needed:
        raise PixelError(f"the RLE header has {segments} segments, the image needs {needed}")
    used = offsets[:segments]
    if used[0] < 64 or used != sorted(used) or used[-1] >= len(data):
        raise PixelError("truncated codestream: an RLE segment lies outside the frame")
