"""What the offline commands need of files: which ones a command line names."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from medfake_pacs.errors import MedfakeError
from medfake_pacs.offline import header_of

__all__ = ["files_under", "header_of"]


def files_under(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every file that is named, or lies under a folder that is named, in a steady order.

    Raises
    ------
    MedfakeError
        If there is no such file or folder.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(item for item in path.rglob("*") if item.is_file() and not item.name.startswith("."))
        elif path.exists():
            yield path
        else:
            raise MedfakeError(f"{path}: there is no such file or folder")
