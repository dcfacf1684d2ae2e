"""Files under a folder: which may hold an image, and the headers of those that are DICOM."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from medfake_pacs.errors import PixelError
from training.datasets.images import Header, read_header
from training.datasets.record import DatasetError, LeftOut

UNREADABLE = "can't be read"
# What downloads bring along beside images.
_NO_IMAGE = {
    ".bib", ".csv", ".doc", ".docx", ".gz", ".htm", ".html", ".ipynb", ".ini", ".json", ".md", ".npy", ".npz", ".pdf",
    ".py", ".rst", ".sh", ".tar", ".tcia", ".tgz", ".toml", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip",
}  # fmt: skip
_NO_IMAGE_NAMES = {"dicomdir", "license", "readme", "thumbs.db", "desktop.ini"}
RASTERS = {".png", ".jpg", ".jpeg"}


def folders_under(root: Path) -> Iterator[Path]:
    """``root`` and every folder below it, in order of their names, each once; not those
    whose names begin with a dot.

    Raises: NotADirectoryError or FileNotFoundError where ``root`` is no folder.
    """
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is no folder") if root.exists() else FileNotFoundError(f"no folder {root}")
    seen: set[str] = set()
    for folder, below, _ in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        place = os.path.realpath(folder)
        if place in seen:
            below.clear()
            continue
        seen.add(place)
        yield Path(folder)


def candidates(folder: Path, suffixes: Iterable[str] = ()) -> list[Path]:
    """The files right in ``folder`` that may be images, by their names; only those with ``suffixes`` where given."""
    wanted = set(suffixes)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.is_dir())
    return [
        folder / name
        for name in names
        if not name.startswith(".")
        and name.lower() not in _NO_IMAGE_NAMES
        and (path_suffix := os.path.splitext(name)[1].lower()) not in _NO_IMAGE
        and (not wanted or path_suffix in wanted)
    ]


def below(folder: Path, name: str, root: Path) -> Path:
    """The file that a table names from ``folder`` on, which has to lie below ``root`` by its name.

    Links aren't followed: where a data set's own folders are links, that is who made them's doing, not the table's.

    Raises: DatasetError where the name is absolute or leads out of ``root``.
    """
    path = Path(os.path.normpath(folder / name))
    if not name or os.path.isabs(name) or not path.is_relative_to(os.path.normpath(root)):
        raise DatasetError(f"the file {name!r} doesn't lie below {root}")
    # From a configuration file on, a spool's files begin with "..", which no file has below it.
    return path if ".." in Path(name).parts else folder / name


def headers(files: Iterable[Path]) -> tuple[list[tuple[Path, Header]], list[LeftOut]]:
    """The files with their headers, and those that aren't DICOM or are damaged."""
    read, left_out = [], []
    for path in files:
        try:
            read.append((path, read_header(path)))
        except PixelError as error:
            left_out.append(LeftOut(path=path, reason=UNREADABLE, detail=str(error)))
    return read, left_out


def outline(root: Path, limit: int = 8) -> str:
    """What lies right under ``root``, for an error message."""
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in root.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more
