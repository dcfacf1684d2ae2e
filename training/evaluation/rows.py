"""The table that every figure comes from: one row for each scored image, kept as JSON lines."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from training.provenance import CLEANED

CLEAN = "clean"
Cells = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image's score by one detector.

    ``family`` is clean for a real image, else the family (or the generator) of the fake. ``codec`` is the lossy
    compression that the image went through here, ``change`` any other processing; both are empty where nothing was
    done. ``lossy``: it was compressed with loss, here or before. ``run`` names an edit over neighbouring slices of a
    series, ``source`` a data set with fakes of its own. ``score`` is the raw logit; ``probability`` and ``verdict``
    are what the card makes of it, empty for a detector without a card. ``outside`` says why an image isn't of the
    kind the detector was made for. ``cells`` are the map's logits and ``truth`` the edited part (0..1) of each cell,
    kept for local fakes alone.
    """

    name: str
    patient: str
    series: str
    position: float
    lung_fraction: float
    family: str
    codec: str
    score: float
    outside: str
    detector: str = ""
    change: str = ""
    run: str = ""
    source: str = ""
    lossy: bool = False
    probability: float | None = None
    verdict: str = ""
    cells: Cells = ()
    truth: Cells = ()

    @property
    def fake(self) -> bool:
        """Whether the image is a fake."""
        return self.family != CLEAN

    @property
    def cleaned(self) -> bool:
        """Whether it is the variant of a published image without its source's traces, or a fake made from that."""
        return is_cleaned(self.name)

    @property
    def condition(self) -> str:
        """What the image went through before it was scored; empty for nothing."""
        return self.codec or self.change


def is_cleaned(name: str) -> bool:
    """Whether an image's name is that of a variant without its source's traces."""
    return name.endswith(CLEANED)


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Writes a table, one JSON object on each line; fields at their default are left out."""
    with path.open("w", encoding="utf-8") as handle:
        for row in rows:
            kept = {name: value for name, value in asdict(row).items() if value not in ("", None, ())}
            handle.write(json.dumps(kept, separators=(",", ":"), ensure_ascii=False) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Reads a table.

    Raises: ValueError naming the line that is not a row.
    """
    with path.open(encoding="utf-8") as handle:
        return [_row(text, number, path) for number, text in enumerate(handle, start=1) if text.strip()]


def _row(text: str, number: int, path: Path) -> Row:
    empty = {"series": "", "codec": "", "outside": ""}
    try:
        data = json.loads(text)
        for name in ("cells", "truth"):
            if name in data:
                data[name] = tuple(tuple(line) for line in data[name])
        return Row(**(empty | data))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: line {number}: {error}") from error
