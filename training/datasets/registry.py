"""The readers by name: how each finds its images, and how it opens one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets import indexed
from training.datasets.record import Found, Opened, Record, as_sample
from training.datasets.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """``find`` lists what is under a folder without reading pixels, ``open`` reads those of one record."""

    what: str
    find: Callable[[Path], Found]
    open: Callable[[Record], Opened]


CATALOGUE: Mapping[str, Reader] = {
    "ct": Reader(what="CT slices with index.csv", find=indexed.find_ct, open=indexed.open_rounded),
    "knee": Reader(what="knee radiographs with index.csv", find=indexed.find_knee, open=indexed.open_plain),
    "chest": Reader(what="chest radiographs with index.csv", find=indexed.find_chest, open=indexed.open_plain),
}


def load(record: Record) -> Sample:
    """The sample of a record: its pixels, read now.

    Raises: PixelError where they can't be read.
    """
    return as_sample(record, CATALOGUE[record.reader].open(record))
