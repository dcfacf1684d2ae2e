"""Which file is "slice 100" of a CT-GAN scan: the tables don't say, and published code reads them in two ways.

The authors' notebook sorts by ImagePositionPatient, z ascending, and counts from 0; other code opens ``100.dcm``.
Both are computed for every row. Where they name the same file, nothing is to be decided; where they don't, the
reading that fits every row of the set is taken if the other doesn't; if both do, or neither, the set is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets.ctgan_labels import Place
from training.datasets.images import Header
from training.datasets.record import DatasetError

CONVENTIONS = ("auto", "position", "file-name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One folder of slices; ``slices`` are in the order of their places, z ascending."""

    name: str
    experiment: str
    folder: Path
    slices: tuple[tuple[Path, Header], ...]
    places: tuple[Place, ...]

    @property
    def spacing_mm(self) -> float:
        """The median distance between neighbouring slices."""
        places = [header.position_mm or 0.0 for _, header in self.slices]
        return float(np.median(np.diff(places))) if len(places) > 1 else 1.0

    def by_position(self, number: int) -> int | None:
        """The index in ``slices`` of slice ``number`` when slices are counted along z."""
        return number if 0 <= number < len(self.slices) else None

    def by_name(self, number: int) -> int | None:
        """The index in ``slices`` of the file whose name is ``number``."""
        return next((at for at, (path, _) in enumerate(self.slices) if file_number(path) == number), None)

    def index(self, number: int, convention: str) -> int | None:
        """The index in ``slices`` of slice ``number`` in one of the two readings."""
        return self.by_name(number) if convention == "file-name" else self.by_position(number)


def file_number(path: Path) -> int | None:
    """The number that a file is named by, or None."""
    return int(path.stem) if path.stem.isascii() and path.stem.isdigit() else None


def settle(scans: Sequence[Scan], convention: str = "auto") -> tuple[str, str]:
    """The reading to use for a whole set, "position" or "file-name", and a note where it had to be inferred.

    Raises: DatasetError where the readings disagree and nothing tells which is meant, or the named one fits no file.
    """
    rows = [(scan, place) for scan in scans for place in scan.places]
    fitting = {name: sum(scan.index(place.slice, name) is not None for scan, place in rows) for name in CONVENTIONS[1:]}
    differing = [(scan, place) for scan, place in rows if scan.by_position(place.slice) != scan.by_name(place.slice)]
    if convention != "auto":
        if fitting[convention] < len(rows):
            wrong = next(row for row in rows if row[0].index(row[1].slice, convention) is None)
            raise DatasetError(_absent(*wrong, convention))
        return convention, f"slices are counted by {convention}, as asked for"
    if not differing:
        return "position", ""
    whole = [name for name, count in fitting.items() if count == len(rows)]
    if len(whole) == 1:
        other = next(name for name in CONVENTIONS[1:] if name != whole[0])
        count = len(rows) - fitting[other]
        return whole[0], f"slices are counted by {whole[0]}: counted by {other}, {count} of {len(rows)} rows name none"
    raise DatasetError(_undecided(*differing[0], len(differing), len(rows), possible=bool(whole)))


def _absent(scan: Scan, place: Place, convention: str) -> str:
    return (
        f"{scan.folder}: slice {place.slice} counted by {convention} isn't there: {len(scan.slices)} slices, the first "
        f"{scan.slices[0][0].name} at the lowest place; name the other one with --slice-index, or complete the folder"
    )


def _undecided(scan: Scan, place: Place, count: int, rows: int, *, possible: bool) -> str:
    by_position, by_name = scan.by_position(place.slice), scan.by_name(place.slice)
    position = scan.slices[by_position][0].name if by_position is not None else "no file"
    name = scan.slices[by_name][0].name if by_name is not None else "no file"
    why = "both readings are possible" if possible else "neither reading fits every row"
    return (
        f"{scan.folder}: slice {place.slice} is {name} by file name and {position} by place (z ascending, from 0); "
        f"{count} of {rows} rows differ and {why}. Say which is meant with --slice-index file-name or "
        "--slice-index position: look at one tampered place first"
    )
