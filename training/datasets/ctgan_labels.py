"""The two tables of the CT-GAN set, ``labels_exp1.csv`` and ``labels_exp2.csv``: what lies where in which scan."""

import csv
from dataclasses import dataclass
from pathlib import Path

from training.datasets.record import DatasetError

# Real benign and malignant places; a cancer that was removed, and one that was injected.
TYPES = {"TB": False, "TM": False, "FB": True, "FM": True}
_COLUMNS = ("type", "uuid", "slice", "x", "y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One row: ``slice`` counts the slices of the scan, ``x`` is the column and ``y`` the row in pixels."""

    kind: str
    scan: str
    slice: int
    x: float
    y: float

    @property
    def tampered(self) -> bool:
        """Whether something was injected or removed there."""
        return TYPES[self.kind]


def read_places(path: Path) -> tuple[Place, ...]:
    """Every row of a table, each once.

    Raises: DatasetError naming the line that isn't as expected.
    """
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
        missing = [name for name in _COLUMNS if name not in columns]
        if missing:
            raise DatasetError(f"{path}: no column {', '.join(missing)}; expected the columns {','.join(_COLUMNS)}")
        places = [
            _place(path, reader.line_num, {name: row[columns[name]] or "" for name in _COLUMNS}) for row in reader
        ]
    return tuple(dict.fromkeys(places))


def _place(path: Path, line: int, row: dict[str, str]) -> Place:
    kind = row["type"].strip().upper()
    if kind not in TYPES:
        raise DatasetError(f"{path}, line {line}: type {kind!r}; expected one of {', '.join(TYPES)}")
    try:
        return Place(kind=kind, scan=row["uuid"].strip(), slice=int(row["slice"]), x=float(row["x"]), y=float(row["y"]))
    except ValueError as error:
        raise DatasetError(f"{path}, line {line}: slice, x and y have to be numbers") from error
