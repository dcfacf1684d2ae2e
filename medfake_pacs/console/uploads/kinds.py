"""Tell what a file is by its content; neither its name nor its Content-Type has a say.

Refused are files that are two things at once: a picture or DICOM object that is a ZIP archive too, or a DICOM
object whose preamble (PS3.10 7.1) begins another kind of file. TIFF's beginning is let through, which PS3.10 has in
mind. What is taken is never handed out as it came: pictures are decoded and encoded anew.
"""

import zipfile
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from pydicom.uid import UID

from medfake_pacs.console.uploads import rasters
from medfake_pacs.console.uploads.refusals import FileRefusedError
from medfake_pacs.console.uploads.storing import StoredFile, UploadLimits
from medfake_pacs.entities import ImageAttributes, Peer
from medfake_pacs.errors import CannotUnderstandError
from medfake_pacs.offline import IMPLICIT_VR_LITTLE_ENDIAN, header_of, is_part_10
from medfake_pacs.pixels.raster import JPEG_SIGNATURE, PNG_SIGNATURE
from medfake_pacs.report.headers import ascii_value, read_header
from medfake_pacs.spool import file_meta
from medfake_pacs.spool.header import read_file_meta

DICOM, PNG, JPEG, ZIP = "dicom", "png", "jpeg", "zip"
_HEAD_BYTES = 2048
_DICOMDIR = "1.2.840.10008.1.3.10"
_ARCHIVES = {
    b"\x1f\x8b": "a gzip archive", b"BZh": "a bzip2 archive", b"\xfd7zXZ\0": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive", b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
}  # fmt: skip
_OTHERS = {
    b"%PDF": "a PDF document", b"GIF8": "a GIF picture", b"BM": "a BMP picture", b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture", b"RIFF": "a RIFF file", b"MZ": "a program", b"\x7fELF": "a program",
    b"\xcf\xfa\xed\xfe": "a program", b"\xca\xfe\xba\xbe": "a program", b"#!": "a script",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture", b"\xd0\xcf\x11\xe0": "an Office document",
}  # fmt: skip
_HARMLESS_PREAMBLES = (b"II*\0", b"MM\0*")
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_MARKUP = ((b"<svg", "an SVG drawing"), (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"),
           (b"<script", "an HTML page"), (b"<?xml", "an XML document"))  # fmt: skip
_WANTED = "upload DICOM, PNG, JPEG, or a ZIP of a study"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A file that is taken: ``attributes`` are those of a DICOM object, None for a picture."""

    file: StoredFile
    kind: str
    attributes: ImageAttributes | None = None


def is_zip(path: Path) -> bool:
    """Tell whether a file begins as a ZIP archive does, and isn't a DICOM object that only begins so."""
    return _head(path).startswith(_ZIP_STARTS) and not is_part_10(path)


def examine(file: StoredFile, limits: UploadLimits) -> Image:
    """Return what an image file is.

    Raises
    ------
    FileRefusedError
        If it is anything else, damaged, or two things at once; the text names what it is.
    """
    if not file.size_bytes:
        raise FileRefusedError("the file is empty", HTTPStatus.UNPROCESSABLE_ENTITY)
    head = _head(file.path)
    if is_part_10(file.path):
        _check_preamble(head)
        image = Image(file=file, kind=DICOM, attributes=_examine_dicom(file.path))
    elif head.startswith(PNG_SIGNATURE):
        image = Image(file=file, kind=PNG)
        _check_pixels(rasters.check_png(file.path), limits)
    elif head.startswith(JPEG_SIGNATURE):
        image = Image(file=file, kind=JPEG)
        _check_pixels(rasters.check_jpeg(file.path), limits)
    else:
        _refuse_by_name(head)
        return _without_preamble(file)
    _refuse_hidden_archive(file.path)
    return image


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _check_pixels(size: tuple[int, int], limits: UploadLimits) -> None:
    if size[0] * size[1] > limits.max_pixels:
        raise FileRefusedError(
            f"{size[0]} x {size[1]} pixels; {limits.max_pixels:,} at most are decoded",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )


def _check_preamble(head: bytes) -> None:
    preamble = head[:128]
    if preamble.startswith(_HARMLESS_PREAMBLES):
        return
    what = _what(preamble)
    if what:
        raise FileRefusedError(f"a DICOM object that is {what} too, by its preamble", severe=True)


def _refuse_by_name(head: bytes) -> None:
    if head.startswith(_ZIP_STARTS):
        raise FileRefusedError("an archive in an archive: unpack it first", severe=True)
    for start, what in _ARCHIVES.items():
        if head.startswith(start):
            raise FileRefusedError(f"{what}; {_WANTED}", severe=True)
    what = _what(head)
    if what:
        raise FileRefusedError(f"{what}, not an image that can be assessed; {_WANTED}")


def _what(head: bytes) -> str:
    """Return what bytes begin; empty for nothing that is known."""
    known = {**_OTHERS, **_ARCHIVES, PNG_SIGNATURE: "a PNG picture", JPEG_SIGNATURE: "a JPEG picture"}
    known |= dict.fromkeys(_ZIP_STARTS, "a ZIP archive")
    for start, what in known.items():
        if head.startswith(start):
            return what
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return next((what for mark, what in _MARKUP if mark in text), "a marked-up text")
    return ""


def _refuse_hidden_archive(path: Path) -> None:
    """Refuse a file that can be opened as a ZIP archive: those are read from their end, whatever is before them."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            hidden = bool(archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return
    if hidden:
        raise FileRefusedError("an image that is a ZIP archive too: save the image anew", severe=True)


def _examine_dicom(path: Path) -> ImageAttributes:
    try:
        meta, _ = read_file_meta(path)
        if meta.get("MediaStorageSOPClassUID") == _DICOMDIR:
            raise FileRefusedError("a DICOMDIR, which lists images but is none")
        attributes = header_of(path)
    except CannotUnderstandError as error:
        raise FileRefusedError(f"a DICOM file that can't be read: {error}", HTTPStatus.UNPROCESSABLE_ENTITY) from error
    _check_is_image(path, attributes)
    return attributes


def _check_is_image(path: Path, attributes: ImageAttributes) -> None:
    header = read_header(path, ["Rows", "SOPClassUID"])
    if header is None or "Rows" not in header:
        name = UID(ascii_value(header, "SOPClassUID") or attributes.sop_class_uid).name
        raise FileRefusedError(f"a DICOM object without an image ({name})")


def _without_preamble(file: StoredFile) -> Image:
    """Take a data set without File Meta Information, as some programs write them, by giving it one."""
    try:
        attributes = header_of(file.path)
    except CannotUnderstandError as error:
        raise FileRefusedError(f"neither DICOM nor PNG nor JPEG; {_WANTED}") from error
    nobody = Peer(association_id="", calling_ae_title="", called_ae_title="", host="")
    head = file_meta.encode(
        sop_class_uid=attributes.sop_class_uid,
        sop_instance_uid=attributes.sop_instance_uid,
        transfer_syntax_uid=IMPLICIT_VR_LITTLE_ENDIAN,
        peer=nobody,
        received_at=0,
    )
    completed = file.path.with_suffix(".part10")
    with completed.open("wb") as target, file.path.open("rb") as source:
        target.write(head)
        while piece := source.read(1 << 20):
            target.write(piece)
    completed.replace(file.path)
    _check_is_image(file.path, attributes)
    return Image(file=file, kind=DICOM, attributes=attributes)
