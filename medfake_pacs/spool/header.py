"""Read what the node needs to know of an object, without its pixels and within bounded memory.

A header is a stranger's: any length, any text, any nesting. What can't be read is absent; only an
object that can't be identified is refused.
"""

import math
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydicom.config import IGNORE
from pydicom.config import settings as pydicom_settings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medfake_pacs.entities import ImageAttributes
from medfake_pacs.errors import CannotUnderstandError

_UID = re.compile(r"[0-9][0-9.]{0,63}")
# JPEG Baseline and Extended, JPEG-LS Near-Lossless; JPEG 2000 can be either, so the header has to say it.
_LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
# Of a deflated object only the beginning is inflated: nothing that is read comes after 4 MiB.
_INFLATED_BYTES = 4 * 2**20
_BEGINNING_BYTES = 65_536
_VALUE_BYTES = 4096
# Values that aren't asked for are skipped, but sequences of undefined length have to be read.
# The bounds are far beyond the header of any real object: its thousands of frames are described after _LAST_TAG.
_READ_BYTES = 4 * 2**20
_READS = 50_000
_TEXT_CHARACTERS = 256
_INTEGER_BOUND = 2**31 - 1
_KEYWORDS = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDescription", "SeriesDescription",
    "Modality", "SyntheticData", "PatientID", "AccessionNumber", "BodyPartExamined", "StudyInstanceUID",
    "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation",
    "NumberOfFrames", "LossyImageCompression",
)  # fmt: skip
_TAGS = tuple(Tag(keyword) for keyword in _KEYWORDS)
_LAST_TAG = 0x00282110
# What a parser raises on a stranger's bytes; its texts hold values, which are patient data.
_UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, RecursionError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


class _Bounded:
    """A binary file of which no more is read than ``_READ_BYTES`` and ``_READS``, whatever its lengths claim.

    The reads are limited too because pydicom builds each item of a sequence, also one of eight bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left_bytes = _READ_BYTES
        self._left_reads = _READS
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes or fewer at the end of the file."""
        self._left_bytes -= size if size >= 0 else _READ_BYTES + 1
        self._left_reads -= 1
        if self._left_bytes < 0 or self._left_reads < 0:
            # Not an EOFError: pydicom takes that for the end of a sequence.
            raise CannotUnderstandError("the header is too long")
        return self._file.read(size)


def configure_reading() -> None:
    """Make pydicom take values as they come: it would print the wrong ones, and they are patient data."""
    pydicom_settings.reading_validation_mode = IGNORE


def read_attributes(path: Path, *, data_set_offset: int, transfer_syntax_uid: str) -> ImageAttributes:
    """Read the header of the Part 10 file ``path``, whose data set starts at ``data_set_offset`` bytes.

    Raises
    ------
    CannotUnderstandError
        If it can't be parsed, or lacks one of its four identifying UIDs or has a malformed one.
    """
    with path.open("rb") as file:
        file.seek(data_set_offset)
        try:
            return _attributes(_header(file, UID(transfer_syntax_uid)), transfer_syntax_uid)
        except _UNREADABLE as error:
            # The disk's errors have a number, pydicom's "no tag to read" has none.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise CannotUnderstandError("the data set can't be parsed") from error


def read_file_meta(path: Path) -> tuple[FileMetaDataset, int]:
    """Return the File Meta Information of ``path`` and the offset in bytes at which its data set starts.

    Raises
    ------
    CannotUnderstandError
        If the file has none; an ``OSError`` of the filesystem comes through.
    """
    try:
        meta = read_file_meta_info(path)
        return meta, 144 + int(meta.FileMetaInformationGroupLength)
    except (InvalidDicomError, *_UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CannotUnderstandError("there is no File Meta Information") from error


def _header(file: BinaryIO, transfer_syntax: UID) -> Dataset:
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        return _parsed(_Bounded(BytesIO(_inflated_beginning(file))), transfer_syntax)[0]
    start = file.tell()
    # Nearly every header ends within its first bytes, and memory is read faster than a file.
    beginning = file.read(_BEGINNING_BYTES)
    if len(beginning) < _BEGINNING_BYTES:
        return _parsed(BytesIO(beginning), transfer_syntax)[0]
    try:
        header, complete = _parsed(BytesIO(beginning), transfer_syntax)
    except _UNREADABLE:
        complete = False
    if not complete:
        file.seek(start)
        header, _ = _parsed(_Bounded(file), transfer_syntax)
    return header


def _parsed(file: "BinaryIO | _Bounded", transfer_syntax: UID) -> tuple[Dataset, bool]:
    """Return what was read, and whether the end of the header was seen."""
    last = 0

    def is_beyond(tag: int, _representation: str | None, _length: int) -> bool:
        nonlocal last
        last = tag
        return tag > _LAST_TAG

    header = read_dataset(
        cast(BinaryIO, file),
        transfer_syntax.is_implicit_VR,
        transfer_syntax.is_little_endian,
        stop_when=is_beyond,
        defer_size=_VALUE_BYTES,
        specific_tags=list(_TAGS),
    )
    return header, last > _LAST_TAG


def _inflated_beginning(file: BinaryIO) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    while len(inflated) < _INFLATED_BYTES and (deflated := file.read(2**16)):
        inflated += inflater.decompress(deflated, _INFLATED_BYTES - len(inflated))
    return bytes(inflated)


def _attributes(header: Dataset, transfer_syntax_uid: str) -> ImageAttributes:
    return ImageAttributes(
        sop_class_uid=_uid(header, "SOPClassUID"),
        sop_instance_uid=_uid(header, "SOPInstanceUID"),
        study_instance_uid=_uid(header, "StudyInstanceUID"),
        series_instance_uid=_uid(header, "SeriesInstanceUID"),
        modality=_text(header, "Modality"),
        body_part=_text(header, "BodyPartExamined"),
        study_description=_text(header, "StudyDescription"),
        series_description=_text(header, "SeriesDescription"),
        patient_id=_text(header, "PatientID"),
        accession_number=_text(header, "AccessionNumber"),
        image_type=_text(header, "ImageType"),
        instance_number=_integer(header, "InstanceNumber"),
        slice_position_mm=_slice_position_mm(header),
        number_of_frames=max(1, _integer(header, "NumberOfFrames") or 1),
        synthetic_data=_text(header, "SyntheticData"),
        lossy=_text(header, "LossyImageCompression") == "01" or transfer_syntax_uid in _LOSSY_SYNTAXES,
    )


def _value(header: Dataset, keyword: str) -> Any:
    try:
        return header.get(keyword)
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, OSError, TypeError, ValueError):
        return None


def _uid(header: Dataset, keyword: str) -> str:
    uid = str(_value(header, keyword) or "").strip(" \x00")
    if not uid:
        raise CannotUnderstandError(f"{keyword} is missing")
    if not _UID.fullmatch(uid):
        raise CannotUnderstandError(f"{keyword} is malformed")
    return uid


def _text(header: Dataset, keyword: str) -> str:
    value = _value(header, keyword)
    if value is None:
        return ""
    parts = [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)
    text = "\\".join(str(part) for part in parts)
    # PostgreSQL takes neither NUL nor an unpaired surrogate in text.
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8").strip()[:_TEXT_CHARACTERS]


def _integer(header: Dataset, keyword: str) -> int | None:
    numbers = _numbers(header, keyword)
    return int(numbers[0]) if numbers and abs(numbers[0]) <= _INTEGER_BOUND else None


def _numbers(header: Dataset, keyword: str) -> list[float]:
    value = _value(header, keyword)
    if value is None:
        return []
    parts = value if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else [value]
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


def _slice_position_mm(header: Dataset) -> float | None:
    """Return the slice's place along the normal of its plane (PS3.3 C.7.6.2.1.1)."""
    position = _numbers(header, "ImagePositionPatient")
    cosines = _numbers(header, "ImageOrientationPatient")
    if len(position) == 3 and len(cosines) == 6:
        (a, b, c), (d, e, f) = cosines[:3], cosines[3:]
        normal = (b * f - c * e, c * d - a * f, a * e - b * d)
        place = sum(x * y for x, y in zip(position, normal, strict=True))
        return place if math.isfinite(place) else None
    location = _numbers(header, "SliceLocation")
    return location[0] if location else None
