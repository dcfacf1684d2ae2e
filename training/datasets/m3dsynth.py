"""M3Dsynth (Zingarini et al. 2024, arXiv 2309.07973; for non-profit use only): LIDC scans with tampered places.

``{pix2pix,cycle,diffusion}/{scan,label}/<img_id>/slide%04d.tiff`` and ``real/scan/<img_id>/...`` as its own scripts
write them: 16-bit TIFF, slices by descending z, labels of one bit; ``data/data.csv`` and ``data/sets.csv`` of its
repository. The table has one row of a real scan for each of its fakes: a scan is read once.

Only slices with a marked pixel are fake; the rest of a tampered scan is the real scan's and isn't used. The values
are HU plus an offset that depends on the scanner; it is estimated from the scan (see ``offset_of``).
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.library import LIBRARY_ERRORS, one_line
from training.datasets.files import UNREADABLE, below, outline
from training.datasets.hounsfield import lung_fraction, without_padding
from training.datasets.images import extent
from training.datasets.record import DatasetError, Found, LeftOut, Opened, Record
from training.datasets.sample import Array

GENERATORS = ("pix2pix", "cycle", "diffusion")
# What lies between HU and the files, after its converter: 1024 where the scanner stored unsigned values or its lowest
# was -1024, else the value that the scanner padded with.
_OFFSETS = (1024, 2000, 2048, 3024)
_REACH_SLICES = 64
_UNMARKED = "slices of a tampered scan without a marked pixel: the real scan's, or close to the tampered place"
_PARTS = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test"}
_LAYOUT = "{real,pix2pix,cycle,diffusion}/scan/<img_id>/slide0000.tiff, and data/data.csv and data/sets.csv beside them"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of data.csv: a scan, how it was made, and whose it is."""

    image: str
    made_by: str
    patient: str
    series: str
    part: str
    slice: int


def find(root: Path) -> Found:
    """The slices of real scans, each scan once, and the tampered slices of the fakes; the data set fixes the split.

    Raises: DatasetError where the tables or the scans are missing.
    """
    base, tables = _base(root), _tables(root)
    records: list[Record] = []
    left_out: list[LeftOut] = []
    again, absent = 0, 0
    seen: set[tuple[str, str]] = set()
    for row in _rows(tables):
        folder = base / row.made_by / "scan" / row.image
        if row.made_by == "real" and (row.patient, row.series) in seen:
            again += 1
        elif not folder.is_dir():
            absent += 1
        else:
            seen.update({(row.patient, row.series)} if row.made_by == "real" else ())
            found, without = _scan(root, base, row)
            records += found
            left_out += without
    if not records:
        raise DatasetError(f"{root}: none of the {absent} scans of {tables / 'data.csv'} is there; expected {_LAYOUT}")
    notes = [f"{tables / 'data.csv'}: {again} rows name a real scan again"] if again else []
    notes += [f"{tables / 'data.csv'}: {absent} scans of the table aren't there"] if absent else []
    return Found(records=tuple(records), left_out=tuple(left_out), notes=tuple(notes))


def _base(root: Path) -> Path:
    for folder in (root, *sorted(each for each in root.iterdir() if each.is_dir())):
        if any((folder / name / "scan").is_dir() for name in (*GENERATORS, "real")):
            return folder
    raise DatasetError(f"{root}: no scans; expected {_LAYOUT}; found {outline(root)}. Name the folder above pix2pix/")


def _tables(root: Path) -> Path:
    below = sorted(each for each in root.iterdir() if each.is_dir())
    for folder in (root / "data", root, *below, *(each / "data" for each in below)):
        if (folder / "data.csv").is_file() and (folder / "sets.csv").is_file():
            return folder
    raise DatasetError(f"{root}: no data/data.csv with sets.csv; copy data/ of the M3Dsynth repository there")


def _rows(tables: Path) -> Iterator[_Row]:
    sets = {row["orig_id"]: row["set"].strip().lower() for row in _read(tables / "sets.csv", ("orig_id", "set"))}
    for row in _read(tables / "data.csv", ("img_id", "mod", "orig_id", "sdir_id", "coord_z")):
        part = sets.get(row["orig_id"], "")
        if part and part not in _PARTS:
            raise DatasetError(
                f"{tables / 'sets.csv'}: set {part!r} of {row['orig_id']}; expected train, valid or test"
            )
        yield _Row(
            image=row["img_id"],
            made_by=row["mod"],
            patient=row["orig_id"],
            series=row["sdir_id"],
            part=_PARTS.get(part, ""),
            slice=int(float(row["coord_z"] or 0)),
        )


def _read(path: Path, columns: Sequence[str]) -> list[Mapping[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(f"{path}: no column {', '.join(missing)}")
        return list(reader)


def _scan(root: Path, base: Path, row: _Row) -> tuple[list[Record], list[LeftOut]]:
    folder = below(base, f"{row.made_by}/scan/{row.image}", root)
    slices = sorted(folder.glob("slide*.tiff"))
    try:
        offset = offset_of([_values(path) for path in slices[:: max(1, len(slices) // 7)][:9]])
    except PixelError as error:
        return [], [LeftOut(path=folder, reason=UNREADABLE, detail=str(error), images=len(slices))]
    numbers = list(range(len(slices)))
    left_out: list[LeftOut] = []
    if row.made_by != "real":
        numbers, left_out = _marked(base / row.made_by / "label" / row.image, slices, row.slice)
        unmarked = len(slices) - len(numbers) - len(left_out)
        left_out += [LeftOut(path=folder, reason=_UNMARKED, images=unmarked)] * bool(unmarked)
    return [_record(root, row, number, slices[number], offset) for number in numbers], left_out


def _marked(labels: Path, slices: Sequence[Path], centre: int) -> tuple[list[int], list[LeftOut]]:
    """The numbers of the slices with a marked pixel, and the labels that can't be read.

    Looked for about the place that the table names, and everywhere only where there is none: a tampered place has 16
    to 32 mm, and a quarter of a million labels take an hour.
    """
    near = [number for number in range(len(slices)) if abs(number - centre) <= _REACH_SLICES]
    for numbers in (near, range(len(slices))):
        found: list[int] = []
        unreadable: list[LeftOut] = []
        for number in numbers:
            try:
                if _values(labels / slices[number].name).any():
                    found.append(number)
            except PixelError as error:
                unreadable.append(LeftOut(path=labels / slices[number].name, reason=UNREADABLE, detail=str(error)))
        if found:
            break
    return found, unreadable


def _record(root: Path, row: _Row, number: int, path: Path, offset: int) -> Record:
    fake = row.made_by != "real"
    return Record(
        reader="m3dsynth",
        path=path,
        name=path.relative_to(root).as_posix(),
        source="m3dsynth",
        patient=row.patient,
        label="fake" if fake else "real",
        generator=f"m3dsynth-{row.made_by}" if fake else "",
        series=f"{row.made_by}-{row.image}" if fake else f"real-{row.patient}-{row.series}",
        # Descending z, as everywhere else the place grows with z.
        position=-float(number),
        part=row.part,
        reading={"offset": offset},
    )


def open_slice(record: Record) -> Opened:
    """One slice in HU with padding as air, and for a fake the marked pixels as its mask.

    Raises: PixelError where one of the two files can't be read.
    """
    stored = _values(record.path)
    mask = None
    if record.label == "fake":
        label = record.path.parents[2] / "label" / record.path.parent.name / record.path.name
        mask = (_values(label) > 0).astype(np.float32)
    values = without_padding(stored - float(record.reading["offset"]))
    facts = {"codec": "TIFF", "bits": 16, **extent(stored)}
    return Opened(values=values, stored=facts, mask=mask, units="HU", lung_fraction=lung_fraction(values))


def offset_of(slices: Sequence[Array]) -> int:
    """What was added to HU: the offset under which there is most air (-1020 to -980) and soft tissue (-120 to 100).

    The rarer of the two counts, since the air of one offset is the soft tissue of another.
    """
    values = np.concatenate([each[each > 0].ravel() for each in slices]) if slices else np.empty(0, np.float32)

    def rarer(offset: int) -> int:
        hounsfield = values - offset
        air = (hounsfield > -1020) & (hounsfield < -980)
        tissue = (hounsfield > -120) & (hounsfield < 100)
        return min(int(air.sum()), int(tissue.sum()))

    return max(_OFFSETS, key=rarer)


def _values(path: Path) -> Array:
    """A TIFF file's samples, (H, W) float32."""
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            return np.asarray(image).astype(np.float32)
    except (MemoryError, *LIBRARY_ERRORS) as error:
        raise PixelError(f"{path}: {one_line(error)}") from error
