"""Unpack a ZIP archive: by what really comes out of it, and never by what it says of itself.

Entry names are shown and nothing else; every file gets a name of our own.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from medfake_pacs.console.uploads.names import shown_name
from medfake_pacs.console.uploads.refusals import FileRefusedError
from medfake_pacs.console.uploads.storing import Folder, StoredFile

_PIECE_BYTES = 1 << 20
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_LOCATOR_BYTES = 20
_MAX_COMMENT_BYTES = 65_535
# Python builds an object for each entry of the directory before it can be asked how many there are.
_MAX_DIRECTORY_BYTES = 4 * 2**20
_ENCRYPTED = 0x1
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_BAD = HTTPStatus.UNPROCESSABLE_ENTITY


def unpack(archive: StoredFile, folder: Folder) -> Iterator[StoredFile]:
    """Yield each file of an archive, written to ``folder``; folders are passed over.

    Raises
    ------
    FileRefusedError
        If the archive is damaged, encrypted, has links or too many entries.
    UploadRefusedError
        If more comes out of it than an upload may have.
    """
    _check_directory(archive.path, folder.limits.max_files)
    try:
        with zipfile.ZipFile(archive.path) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            for entry in entries:
                _check_entry(entry)
            for entry in entries:
                yield _unpack_entry(opened, entry, archive, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise FileRefusedError("a ZIP archive that is damaged", _BAD, severe=True) from error


def _check_directory(path: Path, max_files: int) -> None:
    """Check the end record (APPNOTE 4.3.16) before anything is built from the directory that it points to."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END.size - _MAX_COMMENT_BYTES - _LOCATOR_BYTES))
        tail = file.read()
    place = tail.rfind(_END_SIGNATURE)
    if place < 0 or place + _END.size > len(tail):
        raise FileRefusedError("a ZIP archive that is damaged: it has no end", _BAD, severe=True)
    _, _, _, _, entries, directory_bytes, _, _ = _END.unpack_from(tail, place)
    if tail[max(0, place - _LOCATOR_BYTES) : place].startswith(_ZIP64_LOCATOR):
        raise FileRefusedError("a ZIP64 archive: pack one study at a time", _BAD, severe=True)
    if entries > 2 * max_files or directory_bytes > _MAX_DIRECTORY_BYTES:
        raise FileRefusedError(
            f"a ZIP archive of more than {max_files:,} files", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, severe=True
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = shown_name(entry.filename, whole_path=True)
    if entry.flag_bits & _ENCRYPTED:
        raise FileRefusedError(f"an encrypted ZIP archive ({name}): unpack it first", _BAD, severe=True)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise FileRefusedError(f"a ZIP archive with a link ({name})", _BAD, severe=True)
    if entry.compress_type not in _METHODS:
        raise FileRefusedError("a ZIP archive with another method than deflate", _BAD, severe=True)


def _unpack_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, archive: StoredFile, folder: Folder) -> StoredFile:
    writer = folder.begin(shown_name(f"{archive.name}/{entry.filename}", whole_path=True))
    try:
        with opened.open(entry) as source:
            while piece := source.read(_PIECE_BYTES):
                writer.write(piece)
        return writer.finish()
    finally:
        writer.close()
