"""Write what arrives to a check's folder: under names of our own, within limits, with its digest, durably."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from medfake_pacs.console.uploads.refusals import UploadRefusedError

_CHECK_ROOM_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What one check may hold: bytes and files in all, unpacked; and how much of the disk uploads leave alone.

    ``reserve_bytes`` is more than what the receiver needs to be free: uploads never stop it. ``max_checks_bytes``
    and ``max_account_checks_bytes`` are what the files of all checks, and of one account's, may take.
    """

    max_bytes: int
    max_files: int
    max_pixels: int
    reserve_bytes: int
    max_checks_bytes: int
    max_account_checks_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file in the check's folder; ``name`` is what it is shown as."""

    name: str
    path: Path
    size_bytes: int
    sha256: str


class Folder:
    """A check's folder, and how much of its limits is used."""

    def __init__(self, path: Path, limits: UploadLimits) -> None:
        self.path = path
        self.limits = limits
        self._made = 0
        self._bytes = 0
        self._unchecked_bytes = 0

    def make(self) -> None:
        """Make the folder, if there is room on the disk.

        Raises
        ------
        UploadRefusedError
            If there is none.
        """
        self.path.mkdir(parents=True)
        self.check_room(0)

    def begin(self, name: str) -> "FileWriter":
        """Begin a file that is shown as ``name``.

        Raises
        ------
        UploadRefusedError
            If there are too many.
        """
        self._made += 1
        if self._made > self.limits.max_files + 1:  # an archive isn't one of its files
            raise UploadRefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"An upload may have {self.limits.max_files:,} files at most. Upload one study at a time.",
            )
        return FileWriter(self, self.path / f"{self._made:05d}", name)

    def uncount(self, stored: StoredFile) -> None:
        """Have a file that isn't kept no longer count; the caller deletes it."""
        self._bytes -= stored.size_bytes

    def count(self, size: int) -> None:
        """Count bytes before they are written.

        Raises
        ------
        UploadRefusedError
            If they are too many, unpacked, or the disk is nearly full.
        """
        self._bytes += size
        if self._bytes > self.limits.max_bytes:
            raise UploadRefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"An upload may have {self.limits.max_bytes:,} bytes at most, unpacked. Upload one series at a time.",
            )
        self._unchecked_bytes += size
        if self._unchecked_bytes >= _CHECK_ROOM_BYTES:
            self._unchecked_bytes = 0
            self.check_room(0)

    def check_room(self, coming: int) -> None:
        """Check that the disk has room for ``coming`` bytes beyond what uploads leave alone.

        Raises
        ------
        UploadRefusedError
            If it hasn't.
        """
        if shutil.disk_usage(self.path).free - coming < self.limits.reserve_bytes:
            raise UploadRefusedError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                "The node's disk is nearly full; what is left of it is kept for the images that it receives. "
                "Delete checks that you don't need any more, or tell an administrator.",
            )

    def sync(self) -> None:
        """Make the names of the files durable."""
        for path in (self.path, self.path.parent):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def delete(self) -> None:
        """Delete the folder and whatever is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


class FileWriter:
    """One file while it arrives."""

    def __init__(self, folder: Folder, path: Path, name: str) -> None:
        self._folder = folder
        self._path = path
        self._name = name
        self._digest = hashlib.sha256()
        self._size = 0
        self._file: BinaryIO = path.open("xb")

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``."""
        self._folder.count(len(data))
        self._digest.update(data)
        self._size += len(data)
        self._file.write(data)

    def finish(self) -> StoredFile:
        """Make the file durable and return what it is."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return StoredFile(name=self._name, path=self._path, size_bytes=self._size, sha256=self._digest.hexdigest())

    def close(self) -> None:
        """Close the file as it is; it is deleted with its folder."""
        self._file.close()
