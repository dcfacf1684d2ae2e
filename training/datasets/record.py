"""What is known of an image without its pixels, and what a reader found and left out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets.sample import Array, Fact, Sample


class DatasetError(Exception):
    """A folder isn't laid out as its reader needs; the text names the folder, what was found and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image of a data set: where it is, what it is, and, once examined, what its pixels are.

    ``patient`` is the data set's own name for who is on it, ``group`` the unit of the split: patients that share a
    near-duplicate are one group. ``part`` is the part of the split that the data set fixes, ``split`` the one it is
    in. ``reading`` is how the reader gets image and mask from the file. Empty until examined: ``sha256`` (of the
    pixel values in native units), ``perceptual_hash`` (256 bits in hexadecimal), ``group``, ``split``, ``stored``.
    """

    reader: str
    path: Path
    name: str
    source: str
    patient: str
    frame: int = 1
    label: str = "real"
    generator: str = ""
    series: str = ""
    position: float = 0.0
    axial: bool = True
    lung_fraction: float = 1.0
    part: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    perceptual_hash: str = ""
    group: str = ""
    split: str = ""
    lossy: bool = False
    spacing_mm: tuple[float, float] | None = None
    stored: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A record's pixels: ``values`` (H, W) float32 in native units, ``mask`` (H, W) in 0..1 where it is known.

    ``units`` is HU for CT, else empty; ``lung_fraction`` in 0..1 is None where the reader doesn't measure it.
    """

    values: Array
    stored: Mapping[str, Fact]
    mask: Array | None = None
    lossy: bool = False
    spacing_mm: tuple[float, float] | None = None
    units: str = ""
    lung_fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Images that aren't used: where they are, why (one text for all of a kind), and how many."""

    path: Path
    reason: str
    detail: str = ""
    images: int = 1

    def __str__(self) -> str:
        many = f" ({self.images} images)" if self.images != 1 else ""
        return f"{self.path}{many}: {self.reason}{': ' if self.detail else ''}{self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a reader found: images to use, images left out, and what a person should know of the whole."""

    records: tuple[Record, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def as_sample(record: Record, opened: Opened) -> Sample:
    """A record with its pixels as a sample; near-duplicates count as one patient once the record was examined."""
    return Sample(
        image=opened.values,
        patient=record.group or record.patient,
        source=record.source,
        name=record.name,
        series=record.series,
        position=record.position,
        lung_fraction=record.lung_fraction if opened.lung_fraction is None else opened.lung_fraction,
        axial=record.axial,
        label=record.label,
        generator=record.generator,
        mask=opened.mask,
        lossy=opened.lossy,
        spacing_mm=opened.spacing_mm,
        sha256=record.sha256,
        stored=opened.stored,
        part=record.part,
    )


def discs(places: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A mask (H, W) of discs, from JSON: a list of [column, row, radius] in pixels."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mask = np.zeros(shape[:2], np.float32)
    for column, row, radius in json.loads(places):
        mask[(columns - column) ** 2 + (rows - row) ** 2 <= radius**2] = 1
    return mask
