"""The files of a bundle on the disk: copied whole or not at all, replaced by renaming, removed by their names alone."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medfake_pacs import crashpoints
from medfake_pacs.config.bundles import CARD_NAME
from medfake_pacs.errors import BundleError
from medfake_pacs.spool.placing import sync_file, sync_folder

WEIGHTS_NAME, README_NAME = "weights.safetensors", "README.md"
BUNDLE_FILES = (CARD_NAME, WEIGHTS_NAME, README_NAME)
STATE_NAME, INSTRUCTIONS_NAME, REASON_NAME = "state.json", "offer.json", "reason.txt"
_COPIED_AT_A_TIME = 1 << 20
# So much stays free for the log and for what is received meanwhile.
_KEPT_FREE_BYTES = 64 << 20


def place_copy(
    source: Path, target: Path, *, limits: Mapping[str, int] | None = None, extra: Mapping[str, Any] | None = None
) -> None:
    """Copy a bundle's files into a new folder that appears whole or not at all.

    ``limits`` are the largest sizes in bytes, by file name; ``extra`` becomes ``offer.json``, with
    the folder's inode: in a copy of the folder it is another's.

    Raises
    ------
    BundleError
        If a file is a link, no regular file, or too large.
    OSError
        If the disk hasn't the room for it.
    """
    make_folder(target.parent)
    _check_room(source, target.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    try:
        for name in BUNDLE_FILES:
            copy_file(source / name, temporary / name, (limits or {}).get(name))
        if extra:
            said = json.dumps({**extra, "inode": temporary.stat().st_ino})
            (temporary / INSTRUCTIONS_NAME).write_text(said)
            sync_file(temporary / INSTRUCTIONS_NAME)
        temporary.chmod(0o755)
        _belong_to_folder(temporary, *temporary.iterdir())
        sync_folder(temporary)
        crashpoints.reach("models.copied")
        temporary.rename(target)
        sync_folder(target.parent)
    finally:
        if temporary.exists():
            remove_files(temporary)


def _check_room(source: Path, folder: Path) -> None:
    found = (source / name for name in BUNDLE_FILES)
    wanted = sum(path.lstat().st_size for path in found if os.path.lexists(path))
    status = os.statvfs(folder)
    if status.f_bavail * status.f_frsize < wanted + _KEPT_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def remove_files(folder: Path, *others: str) -> bool:
    """Remove the files of a bundle and ``others`` by their names, and the folder if it is empty then; tell whether.

    Nothing else in it is touched: it may be somebody's.
    """
    try:
        for name in (STATE_NAME, INSTRUCTIONS_NAME, *BUNDLE_FILES, *others):
            (folder / name).unlink(missing_ok=True)
        for left in folder.glob(".writing-*"):
            left.unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return False
    return True


def shown(name: str) -> str:
    """Return a file's name as it can be logged and stored: what isn't UTF-8 or can't be printed is escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def copy_file(source: Path, target: Path, limit: int | None = None) -> None:
    """Copy one regular file and bring it to the disk; one that is absent is left out.

    Raises
    ------
    BundleError
        If it is a link, no regular file, or larger than ``limit`` bytes, also if it grows meanwhile.
    """
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EACCES, errno.ENXIO):
            raise
        why = "is a symbolic link" if error.errno == errno.ELOOP else f"can't be read: {error.strerror}"
        raise BundleError(f"{source.name} {why}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleError(f"{source.name} is no regular file")
    with os.fdopen(descriptor, "rb") as reader, target.open("xb") as writer:
        size = 0
        while piece := reader.read(_COPIED_AT_A_TIME):
            size += len(piece)
            if limit is not None and size > limit:
                raise BundleError(f"{source.name} is larger than {limit} bytes")
            writer.write(piece)
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(0o644)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file by renaming: it is there whole after a power loss, the new one or the old one."""
    make_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary = Path(name)
        temporary.chmod(0o644)
        _belong_to_folder(temporary)
        temporary.replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; made by root, they belong to the account that owns what they are in."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _belong_to_folder(path)


def _belong_to_folder(*paths: Path) -> None:
    """Give what root has made to the account that owns the folder, or the node couldn't change it later."""
    if os.geteuid() == 0:
        owner = paths[0].parent.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)


def own_lock(folder: Path) -> Path:
    """Return the lock file of a folder; made by root, it belongs to the account that the folder belongs to."""
    path = folder / ".lock"
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        _belong_to_folder(path)
    return path
