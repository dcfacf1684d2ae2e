"""Read single attributes of a received file, undecoded and within bounded memory."""

import struct
import warnings
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

# What a parser can meet in a header that is truncated or lies; the report is made without that file then.
_UNREADABLE = (
    InvalidDicomError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    NotImplementedError, ArithmeticError, RecursionError, struct.error, zlib.error,
)  # fmt: skip
# Preamble, prefix and the group length itself precede what File Meta Information Group Length counts.
_META_START_BYTES = 144
_VALUE_BYTES = 4096
_READ_BYTES = 32 * 2**20
# Ordinary headers take some hundreds. Of a sequence of undefined length pydicom makes a data set for each
# item, asked for or not: as many as this cost a quarter of a second.
_MAX_READS = 16_384
_INFLATED_BYTES = 4 * 2**20
_DEFLATED_PIECE = 2**16
_TEXT_VRS = frozenset({None, "UN", "AE", "CS", "DA", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UT"})


class _Bounded:
    """A file of which ``_READ_BYTES`` and ``_MAX_READS`` pieces are read at most, whatever its header claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _READ_BYTES
        self._reads_left = _MAX_READS
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        self._left -= size if size >= 0 else _READ_BYTES + 1
        self._reads_left -= 1
        if self._left < 0 or self._reads_left < 0:
            # Not EOFError: pydicom would take it for the file's end, and half a header for the whole.
            raise InvalidDicomError("the header is too long")
        return self._file.read(size)


def read_header(path: Path, keywords: Iterable[str]) -> Dataset | None:
    """Read those attributes of a Part 10 file; None where it can't be parsed. See ``raw_value``."""
    tags = [Tag(keyword) for keyword in keywords]
    # What is odd in a received header was reported at reception; here it only has to be survived.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            meta = read_file_meta_info(path)
            with path.open("rb") as file:
                file.seek(_META_START_BYTES + int(meta.FileMetaInformationGroupLength))
                deflated = meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
                return read_dataset(
                    cast(BinaryIO, _Bounded(_inflated_beginning(file) if deflated else file)),
                    meta.TransferSyntaxUID.is_implicit_VR,
                    meta.TransferSyntaxUID.is_little_endian,
                    stop_when=lambda tag, _vr, _length: tag > max(tags),
                    defer_size=_VALUE_BYTES,
                    specific_tags=list(tags),
                )
        except _UNREADABLE:
            return None


def _inflated_beginning(file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    for _ in range(_INFLATED_BYTES // _DEFLATED_PIECE):
        if len(inflated) >= _INFLATED_BYTES or inflater.eof:
            break
        inflated += inflater.decompress(file.read(_DEFLATED_PIECE), _INFLATED_BYTES - len(inflated))
    return BytesIO(bytes(inflated))


def raw_value(header: Dataset | None, keyword: str) -> bytes:
    """Return a value's bytes, so that pydicom never validates, or logs, what a sender wrote.

    Empty where the attribute is absent, isn't text, or is longer than 4096 bytes.
    """
    # Not by get_item: of a value that is too long to be read that would try to read it after all.
    tag = Tag(keyword)
    element = next((each for key, each in header.items() if key == tag), None) if header is not None else None
    if isinstance(element, RawDataElement):
        return bytes(element.value or b"") if element.VR in _TEXT_VRS else b""
    value = element.value if element is not None else None
    parts = [value] if isinstance(value, str) else list(value or ())
    return "\\".join(str(part) for part in parts).encode("utf-8", "replace")


def ascii_value(header: Dataset | None, keyword: str) -> str:
    """Return the value of a UI, CS or IS without its padding."""
    return raw_value(header, keyword).strip(b" \0").decode("ascii", "replace")
