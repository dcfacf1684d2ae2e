"""Objects while they arrive: one folder for each living receiver, one file for each object in it.

What lies in the folder of a receiver that is gone was never answered with Success, so it is removed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from medfake_pacs.errors import OutOfResourcesError
from medfake_pacs.spool.content import begin_digest
from medfake_pacs.spool.placing import exclusive

_LOCK_NAME = ".lock"


class IncomingObject:
    """One object's file under construction: a Part 10 header, then the data set as it comes.

    Not thread-safe; one association writes it. Leaving no file behind is the caller's duty: either the
    spool takes ``path`` away, or ``discard`` is called.
    """

    def __init__(self, folder: Path, header: bytes, transfer_syntax_uid: str) -> None:
        """Make the file and write ``header`` to it; the data set will be in ``transfer_syntax_uid``.

        Raises
        ------
        OSError
            If the filesystem has no room or no file descriptor is left.
        """
        self.data_set_offset = len(header)
        self.size_bytes = 0
        self._digest = begin_digest(transfer_syntax_uid)
        self._descriptor, name = tempfile.mkstemp(prefix="object-", suffix=".dcm", dir=folder)
        self.path = Path(name)
        try:
            self._write(header)
        except OSError:
            self.discard()
            raise

    @property
    def content_sha256(self) -> str:
        """The digest of the transfer syntax and of the data set so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, fragment: bytes | memoryview) -> None:
        """Append a fragment of the data set; an ``OSError`` of the filesystem comes through."""
        self._write(fragment)
        self._digest.update(fragment)
        self.size_bytes += len(fragment)

    def discard(self) -> None:
        """Close the file and remove it, if it is still there."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class IncomingFolder:
    """The folder of this receiver, held by a lock that the kernel drops when the process dies."""

    def __init__(self, root: Path, owner: str) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        # Keeps a sweep from taking a folder for abandoned between its making and its locking.
        with exclusive(root):
            self.path = Path(tempfile.mkdtemp(prefix=f"{owner}-{os.getpid()}-", dir=root))
            self._lock = os.open(self.path / _LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def sweep(self) -> int:
        """Remove the folders of receivers that are gone; return how many objects were cut off in them."""
        with exclusive(self._root):
            return sum(_remove(folder) for folder in self._others() if _is_abandoned(folder))

    def close(self) -> None:
        """Remove this receiver's own folder."""
        with exclusive(self._root):
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)

    def _others(self) -> Iterator[Path]:
        return (folder for folder in self._root.iterdir() if folder.is_dir() and folder != self.path)


def _is_abandoned(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove(folder: Path) -> int:
    count = sum(1 for _ in folder.glob("object-*.dcm"))
    shutil.rmtree(folder, ignore_errors=True)
    return count


def free_bytes(folder: Path) -> int:
    """Return how many bytes an unprivileged process may still write to the filesystem of ``folder``.

    Raises
    ------
    OutOfResourcesError
        If the filesystem can't be asked.
    """
    try:
        state = os.statvfs(folder)
    except OSError as error:
        raise OutOfResourcesError("the spool's filesystem can't be read") from error
    return state.f_bavail * state.f_frsize
