"""The manifest: every image of a data set with digests, group and part of the split, as a CSV file."""

import csv
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from medfake_pacs.errors import PixelError
from training.datasets.duplicates import deduplicated
from training.datasets.files import UNREADABLE, below
from training.datasets.images import pixel_sha256
from training.datasets.near import perceptual_hash
from training.datasets.record import DatasetError, LeftOut, Opened, Record
from training.datasets.registry import CATALOGUE, opened
from training.split import PARTS, part_of_patients

_COLUMNS = tuple(each.name for each in dataclasses.fields(Record))
_CHUNK = 32
_JSON = ("reading", "stored", "spacing_mm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The records of a data set under ``root``, in the order of their names; and what isn't among them, and why."""

    root: Path
    records: tuple[Record, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> tuple[Record, ...]:
        """The records of one part of the split: train, validation or test."""
        return tuple(record for record in self.records if record.split == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adapter:
    """A record as the split sees it: its patient is the group of near-duplicates."""

    patient: str
    source: str
    part: str


def build(
    reader: str,
    root: Path,
    *,
    seed: int = 1,
    pinned_to_test: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    open_record: Callable[[Record], Opened] = opened,
    jobs: int = 1,
) -> Manifest:
    """Reads every image under ``root`` once: digests, duplicates, groups, and then the split by group, 60/20/20.

    ``options`` are the reader's own; ``progress`` is told how many of how many images are read. ``open_record`` gets a
    record's pixels; it is called again for the few that look alike. ``jobs`` processes read images at the same time;
    more than one can't share what ``open_record`` keeps.

    Raises: DatasetError where ``root`` isn't laid out as the reader needs.
    """
    found = CATALOGUE[reader].find(root, **(options or {}))
    records: list[Record] = []
    left_out = list(found.left_out)
    named = sorted(found.records, key=lambda each: each.name)
    for number, result in enumerate(_examined(named, open_record, jobs)):
        progress(number + 1, len(named))
        if isinstance(result, LeftOut):
            left_out.append(result)
        else:
            records.append(result)
    once = deduplicated(records, lambda record: open_record(record).values)
    return Manifest(
        root=root,
        records=split(once.records, seed=seed, pinned_to_test=pinned_to_test),
        left_out=(*left_out, *once.left_out),
        notes=(*found.notes, *once.notes),
    )


def _examined(
    records: Sequence[Record], open_record: Callable[[Record], Opened], jobs: int
) -> Iterator[Record | LeftOut]:
    examine = partial(_examined_or_left_out, open_record=open_record)
    if jobs <= 1:
        yield from map(examine, records)
        return
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield from pool.map(examine, records, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise DatasetError("a process that reads images was killed: use fewer (--jobs), or find the image") from error


def _examined_or_left_out(record: Record, open_record: Callable[[Record], Opened]) -> Record | LeftOut:
    try:
        image = open_record(record)
    except (PixelError, OSError) as error:
        return LeftOut(path=record.path, reason=UNREADABLE, detail=str(error))
    # It shows nobody, and as everyone's duplicate it would make all patients one group.
    if image.values.min() == image.values.max():
        return LeftOut(path=record.path, reason="one value everywhere")
    return examined(record, image)


def examined(record: Record, image: Opened) -> Record:
    """The record with what its pixels tell: digest, perceptual hash, facts."""
    return replace(
        record,
        sha256=pixel_sha256(image.values),
        perceptual_hash=perceptual_hash(image.values),
        stored=image.stored,
        lossy=image.lossy,
        spacing_mm=image.spacing_mm,
        lung_fraction=record.lung_fraction if image.lung_fraction is None else image.lung_fraction,
    )


def split(records: Sequence[Record], *, seed: int = 1, pinned_to_test: Sequence[str] = ()) -> tuple[Record, ...]:
    """Grouped records, each with its part of the split; no group is in two parts."""
    pinned = [record.group for record in records if record.patient in pinned_to_test]
    images = [_Adapter(patient=each.group, source=each.source, part=each.part) for each in records]
    part_of = part_of_patients(images, seed=seed, pinned_to_test=pinned)
    return tuple(replace(record, split=part_of[record.group]) for record in records)


def write(manifest: Manifest, file: Path) -> None:
    """Writes the records to ``file``, paths from the manifest's root on, and what was left out beside it."""
    rows = [[_text(name, manifest.root, record) for name in _COLUMNS] for record in manifest.records]
    _write_csv(file, _COLUMNS, rows)
    left_out = [
        [os.path.relpath(each.path, manifest.root), each.reason, each.detail, str(each.images)]
        for each in manifest.left_out
    ]
    _write_csv(left_out_file(file), ("path", "reason", "detail", "images"), left_out)


def left_out_file(file: Path) -> Path:
    """Where the manifest ``file`` has what was left out."""
    return file.with_suffix(f".left-out{file.suffix}")


def read(file: Path, root: Path) -> Manifest:
    """A manifest from its file; ``root`` is where the data set is now.

    Raises: DatasetError where the file isn't a manifest.
    """
    images = _images_folder(root)
    with file.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(
                f"{file}: not a manifest, no column {', '.join(missing)}; make it with datasets manifest"
            )
        records = []
        for row in reader:
            try:
                records.append(_record(row, root, images))
            except (ValueError, TypeError, DatasetError) as error:
                raise DatasetError(f"{file}, line {reader.line_num}: {error}") from error
    left_out: list[LeftOut] = []
    if left_out_file(file).exists():
        with left_out_file(file).open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                left_out.append(
                    LeftOut(
                        path=root / row["path"], reason=row["reason"], detail=row["detail"], images=int(row["images"])
                    )
                )
    return Manifest(root=root, records=tuple(records), left_out=tuple(left_out))


def _write_csv(file: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pending = file.with_name(f".{file.name}.pending")
    with pending.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(rows)
    pending.replace(file)


def _text(name: str, root: Path, record: Record) -> str:
    value = getattr(record, name)
    if name == "path":
        return os.path.relpath(value, root)
    if name in _JSON:
        return json.dumps(dict(value) if isinstance(value, Mapping) else value, sort_keys=True)
    return str(value)


def _images_folder(root: Path) -> Path:
    """Where images have to be: below ``root``, or in the spool of the node whose configuration file it is."""
    if not root.is_file():
        return root
    # As in the registry: no other reader needs the node's configuration.
    from training.datasets.spool import spool_folder

    return spool_folder(root)


def _record(row: Mapping[str, str], root: Path, images: Path) -> Record:
    """A record from its row; numbers and flags from their text, its file below ``images``."""
    if row["reader"] not in CATALOGUE:
        raise ValueError(f"reader {row['reader']!r}; expected one of {', '.join(CATALOGUE)}")
    if row["label"] not in ("real", "fake") or row["split"] not in PARTS:
        raise ValueError(f"label {row['label']!r} and split {row['split']!r}")
    spacing = json.loads(row["spacing_mm"])
    texts = {name: row[name] for name in _COLUMNS if name not in _JSON}
    return Record(
        **texts  # type: ignore[arg-type]
        | {
            "path": below(root, row["path"], images),
            "frame": int(row["frame"]),
            "position": float(row["position"]),
            "lung_fraction": float(row["lung_fraction"]),
            "axial": row["axial"] == "True",
            "lossy": row["lossy"] == "True",
            "reading": json.loads(row["reading"]),
            "stored": json.loads(row["stored"]),
            "spacing_mm": tuple(spacing) if spacing else None,
        }
    )
