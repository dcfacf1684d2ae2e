"""Give an object its name, so that bytes and name are on the disk together or the name is gone again."""

import errno
import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from medfake_pacs import crashpoints

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_LOCK_NAME = ".lock"


def place(source: Path, target: Path, *, root: Path, syncers: Executor) -> None:
    """Name the object ``source`` also ``target``, and bring it to the disk under that name.

    Bytes and name go to the disk at once because then a journal commits once: one after the other took two
    to three times as long. A name whose bytes a power cut took away was never answered with Success;
    ``adopt`` tells it by its digest. Where the name exists, nobody knows whether its bytes are durable:
    those of ``source`` are made so and take its place. ``root`` holds the lock of the spool.

    Raises
    ------
    OSError
        If anything failed; a name that this call made is gone then.
    """
    crashpoints.reach("receiver.before-fsync")
    if not _link(source, target):
        sync_file(source)
        with exclusive(root):
            source.replace(target)
        sync_folder(target.parent)
        return
    crashpoints.reach("receiver.after-rename")
    durable = False
    try:
        # By the name that nobody else replaces: another one may just give ``target`` to its own copy.
        synced = syncers.submit(sync_file, source)
        try:
            sync_folder(target.parent)
        finally:
            synced.result()
        durable = True
    finally:
        if not durable:
            remove_if_same(target, source.stat(), root=root)
    crashpoints.reach("receiver.after-fsync")
    crashpoints.reach("receiver.after-directory-fsync")


def remove_if_same(path: Path, state: os.stat_result, *, root: Path, keep_as: Path | None = None) -> None:
    """Remove ``path``, or rename it to ``keep_as``, unless another file than that of ``state`` is there now."""
    with exclusive(root):
        try:
            if not os.path.samestat(path.stat(), state):
                return
            if keep_as:
                path.rename(keep_as)
            else:
                path.unlink()
        except FileNotFoundError:
            return


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder`` against other processes and threads; it is a file in it."""
    descriptor = os.open(folder / _LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to the disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Bring the bytes of ``path`` to the disk."""
    _sync(path, os.O_RDONLY)


def _link(source: Path, target: Path) -> bool:
    """Tell whether ``target`` is a new name of ``source``; it isn't where it exists, or links don't."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
