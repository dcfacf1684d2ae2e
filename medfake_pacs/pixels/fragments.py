"""Encapsulated pixel data: which bytes of the file are which frame (PS3.5 A.4)."""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.header import PixelModule
from medfake_pacs.pixels.library import library_call
from medfake_pacs.pixels.source import Source

_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_DELIMITER = (0xFFFE, 0xE0DD)
_FRAGMENTS_PER_FRAME = 64
_FRAGMENTS_ANYWAY = 65536
_STARTS = (b"\xff\xd8", b"\xff\x4f", b"\x00\x00\x00\x0c")


@dataclass(frozen=True, slots=True)
class Fragment:
    """One item: ``start`` of its value in the file, its ``length``, both in bytes."""

    start: int
    length: int


def frame_fragments(source: Source, module: PixelModule) -> list[list[Fragment]]:
    """Return each frame's fragments, in order, without reading them.

    Raises
    ------
    PixelError
        The items are broken, cut off, or don't make as many frames as the header says.
    """
    with library_call("the encapsulated pixel data can't be parsed"):
        file, element = source.file, source.element
        file.seek(element.offset)
        table, first = _offset_table(file, element.available, module.number_of_frames)
        end = element.offset + element.available
        fragments = _walk(file, end, module.number_of_frames * _FRAGMENTS_PER_FRAME + _FRAGMENTS_ANYWAY)
        extended = source.dataset.get("ExtendedOffsetTable")
        if isinstance(extended, bytes) and len(extended) >= 8:
            table = struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8])
        return _grouped(fragments, module.number_of_frames, [first + offset for offset in table], file)


def read_frame(file: BinaryIO, fragments: Sequence[Fragment]) -> bytes:
    """Return one frame's codestream.

    Raises
    ------
    PixelError
        The file ends too early or can't be read.
    """
    parts = []
    with library_call("the file can't be read"):
        for fragment in fragments:
            file.seek(fragment.start)
            parts.append(file.read(fragment.length))
            if len(parts[-1]) != fragment.length:
                raise PixelError(f"truncated pixel data: {len(parts[-1])} of {fragment.length} bytes of a fragment")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _item(file: BinaryIO) -> tuple[tuple[int, int], int] | None:
    head = file.read(8)
    if len(head) < 8:
        return None
    group, element, length = struct.unpack("<HHL", head)
    return (group, element), length


def _offset_table(file: BinaryIO, available: int, frames: int) -> tuple[Sequence[int], int]:
    """Return the Basic Offset Table and the position that its offsets count from (PS3.5 A.4)."""
    item = _item(file)
    if item is None:
        raise PixelError("truncated pixel data: no Basic Offset Table")
    tag, length = item
    if tag != _ITEM:
        raise PixelError("the encapsulated pixel data does not start with an item")
    if length > available:
        raise PixelError(f"truncated pixel data: {available} of {length} bytes of the Basic Offset Table")
    if length != 4 * frames:  # absent, or of no use; and a hostile one may be as long as the file
        return (), file.seek(length, os.SEEK_CUR)
    return struct.unpack(f"<{frames}L", file.read(length)), file.tell()


def _walk(file: BinaryIO, end: int, at_most: int) -> list[Fragment]:
    fragments: list[Fragment] = []
    while (item := _item(file)) is not None:
        tag, length = item
        if tag != _ITEM:
            if tag != _SEQUENCE_DELIMITER and not fragments:
                raise PixelError("the encapsulated pixel data holds something that is no item")
            break
        start = file.tell()
        if start + length > end:
            raise PixelError(f"truncated pixel data: {end - start} of {length} bytes of fragment {len(fragments) + 1}")
        fragments.append(Fragment(start, length))
        if len(fragments) > at_most:
            raise PixelError(f"more than {at_most} fragments of pixel data")
        file.seek(length, os.SEEK_CUR)
    return fragments


def _grouped(fragments: list[Fragment], frames: int, table: list[int], file: BinaryIO) -> list[list[Fragment]]:
    """Assign fragments to frames: by number, else by offset table, else by where a codestream starts."""
    if len(fragments) < frames:
        raise PixelError(f"truncated pixel data: {len(fragments)} fragments for {frames} frames")
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    known = {fragment.start - 8 for fragment in fragments}
    if len(table) == frames and known.issuperset(table):
        starts = set(table)
        return list(_split(fragments, lambda fragment: fragment.start - 8 in starts))
    groups = list(_split(fragments, lambda fragment: _starts_codestream(file, fragment)))
    if len(groups) < frames:
        raise PixelError(f"{len(fragments)} fragments of pixel data can't be told apart as {frames} frames")
    return groups[:frames]


def _split(fragments: list[Fragment], is_start: Callable[[Fragment], bool]) -> Iterator[list[Fragment]]:
    group: list[Fragment] = []
    for fragment in fragments:
        if group and is_start(fragment):
            yield group
            group = []
        group.append(fragment)
    yield group


def _starts_codestream(file: BinaryIO, fragment: Fragment) -> bool:
    file.seek(fragment.start)
    return file.read(4).startswith(_STARTS)
