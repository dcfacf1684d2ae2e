"""How much of the disk the files of checks take, and whether there may be more: by account, and in all."""

import os
from collections.abc import Collection
from http import HTTPStatus
from pathlib import Path

from medfake_pacs.console.uploads.refusals import UploadRefusedError
from medfake_pacs.console.uploads.storing import UploadLimits


def check(root: Path, mine: Collection[str], coming_bytes: int, limits: UploadLimits) -> None:
    """Check that an account, whose checks are ``mine``, may upload ``coming_bytes`` more.

    What lies on the disk counts: also reports, and the objects that pictures were wrapped into.

    Raises
    ------
    UploadRefusedError
        If its checks, or all, would take more of the disk than they may.
    """
    folders = [path.name for path in root.iterdir()]
    sizes = {name: _size(root / name) for name in folders}
    own = sum(sizes.get(name, 0) for name in mine)
    if own + coming_bytes > limits.max_account_checks_bytes:
        raise UploadRefusedError(
            HTTPStatus.INSUFFICIENT_STORAGE,
            f"Your checks take {own:,} bytes already, of the {limits.max_account_checks_bytes:,} that an account may "
            "have. Delete checks that you don't need any more, or wait until their files are deleted by themselves.",
        )
    whole = sum(sizes.values())
    if whole + coming_bytes > limits.max_checks_bytes:
        raise UploadRefusedError(
            HTTPStatus.INSUFFICIENT_STORAGE,
            f"All checks on this node take {whole:,} bytes already, of the {limits.max_checks_bytes:,} that they may. "
            "Delete checks that you don't need any more, or tell an administrator.",
        )


def _size(folder: Path) -> int:
    """Return how many bytes the files in a folder take; what is deleted meanwhile takes none."""
    size, waiting = 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return size
