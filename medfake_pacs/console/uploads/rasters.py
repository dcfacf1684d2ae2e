"""The form of PNG and JPEG files: their size in pixels, and that nothing is hidden behind the picture."""

import re
import struct
from pathlib import Path
from typing import BinaryIO

from medfake_pacs.console.uploads.refusals import FileRefusedError

_PNG_SIGNATURE_BYTES = 8
_PIECE_BYTES = 1 << 20
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def check_png(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG file (ISO/IEC 15948) that ends where its picture ends.

    Raises
    ------
    FileRefusedError
        If it is damaged, animated, or has something behind its end.
    """
    size = path.stat().st_size
    width = height = 0
    with path.open("rb") as file:
        file.seek(_PNG_SIGNATURE_BYTES)
        while True:
            head = file.read(8)
            if len(head) < 8:
                raise FileRefusedError("a PNG file that is damaged: it has no end")
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IHDR" and length >= 8:
                width, height = struct.unpack(">II", file.read(8))
                length -= 8
            if kind == b"acTL":
                raise FileRefusedError("an animated PNG file: save the one picture that is meant")
            if file.tell() + length + 4 > size:
                raise FileRefusedError("a PNG file that is damaged: it breaks off")
            file.seek(length + 4, 1)
            if kind == b"IEND":
                _check_end(file, "PNG")
                return width, height


def check_jpeg(path: Path) -> tuple[int, int]:
    """Return width and height of a JPEG file (ITU-T T.81) that ends where its picture ends.

    Raises
    ------
    FileRefusedError
        If it is damaged, or has something behind its end.
    """
    width = height = 0
    with path.open("rb") as file:
        file.seek(2)
        while True:
            marker = _next_marker(file)
            if marker == _END_OF_IMAGE:
                _check_end(file, "JPEG")
                return width, height
            if marker in _STANDALONE:
                continue
            head = file.read(2)
            if len(head) < 2:
                raise FileRefusedError("a JPEG file that is damaged: it breaks off")
            length = struct.unpack(">H", head)[0]
            start = file.tell()
            if marker in _START_OF_FRAME:
                height, width = struct.unpack(">xHH", file.read(5).ljust(5, b"\0"))
            file.seek(start + max(0, length - 2))
            if marker == _START_OF_SCAN:
                _skip_scan(file)


def _next_marker(file: BinaryIO) -> int:
    first = file.read(1)
    while first == b"\xff":
        second = file.read(1)
        if second != b"\xff":
            if not second:
                break
            return second[0]
        first = second
    raise FileRefusedError("a JPEG file that is damaged: it has no end")


def _skip_scan(file: BinaryIO) -> None:
    """Go to the marker that ends a scan: 0xFF that neither 0, 0xFF nor a restart marker follows (T.81 B.1.1.5)."""
    while piece := file.read(_PIECE_BYTES):
        start = file.tell() - len(piece)
        found = _SCAN_END.search(piece)
        if found:
            file.seek(start + found.start())
            return
        if piece.endswith(b"\xff") and len(piece) > 1:
            # The second half of a marker may be in the next piece.
            file.seek(-1, 1)


def _check_end(file: BinaryIO, kind: str) -> None:
    """Check that nothing but zeros follows: a picture with a tail is two files in one."""
    extra = 0
    while piece := file.read(_PIECE_BYTES):
        extra += len(piece)
        if piece.strip(b"\0"):
            raise FileRefusedError(
                f"a {kind} file with other content behind its picture: save the picture anew", severe=True
            )
