"""Folders with an index.csv beside the images: CT slices, knee radiographs, chest radiographs."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.datasets.files import below
from training.datasets.images import open_image
from training.datasets.record import DatasetError, Found, Opened, Record


def find_ct(root: Path) -> Found:
    """CT slices of ``root``; patients, series and places in the series as the index gives them.

    Raises: FileNotFoundError where the index is missing.
    """
    return _found(root, "ct", lambda row: {
        "patient": row["patient"],
        "series": row["series_uid"],
        "position": float(row["instance"] or 0),
        "lung_fraction": float(row["lung_fraction"] or 0),
        "axial": row["orientation"] == "axial",
    })  # fmt: skip


def find_knee(root: Path) -> Found:
    """Knee radiographs of ``root`` (PNG, 8 bit); the patients are unknown, so each image is its own group."""
    return _found(root, "knee", lambda row: {"patient": f"image-{row['group']}"})


def find_chest(root: Path) -> Found:
    """Chest radiographs of ``root`` (JPEG, 8 bit); several images of one patient are one group."""
    return _found(root, "chest", lambda row: {"patient": row["patient"]})


def open_rounded(record: Record) -> Opened:
    """A slice in HU, rounded to whole units."""
    opened = open_image(record.path, record.frame)
    return replace(opened, values=np.rint(opened.values).astype(np.float32))


def open_plain(record: Record) -> Opened:
    """An image as it is stored."""
    return open_image(record.path, record.frame)


def _found(root: Path, reader: str, about: Callable[[Mapping[str, str]], Mapping[str, object]]) -> Found:
    index = root / "index.csv"
    with index.open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row.get("split") == "curated"]
    try:
        records = tuple(
            Record(
                reader=reader,
                path=below(root.parent, row["file"], root),
                name=row["file"],
                source=row["source"],
                **about(row),  # type: ignore[arg-type]
            )
            for row in rows
        )
    except KeyError as error:
        raise DatasetError(f"{index}: the column {error} is missing") from error
    except DatasetError as error:
        raise DatasetError(f"{index}: {error}") from error
    return Found(records=records)
