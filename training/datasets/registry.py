"""The readers by name: how each finds its images, and how it opens one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets import ctgan, folder, hounsfield, indexed, knees, lidc, m3dsynth
from training.datasets.record import Found, Opened, Record, as_sample
from training.datasets.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """``find`` lists what is under a folder without reading pixels, ``open`` reads those of one record."""

    what: str
    find: Callable[..., Found]
    open: Callable[[Record], Opened]


def _find_spool(root: Path) -> Found:
    # It brings the node's configuration and database along, which no other reader needs.
    from training.datasets.spool import find

    return find(root)


CATALOGUE: Mapping[str, Reader] = {
    "ct": Reader(what="CT slices with index.csv", find=indexed.find_ct, open=indexed.open_rounded),
    "knee": Reader(what="knee radiographs with index.csv", find=indexed.find_knee, open=indexed.open_plain),
    "chest": Reader(what="chest radiographs with index.csv", find=indexed.find_chest, open=indexed.open_plain),
    "ct-gan": Reader(what="CT-GAN's lung scans (Kaggle or UCI layout)", find=ctgan.find, open=hounsfield.open_slice),
    "knee-chen-prezja": Reader(what="Chen's real and Prezja's synthetic knees", find=knees.find, open=knees.open_knee),
    "lidc-idri": Reader(what="LIDC-IDRI lung CT (NBIA layout)", find=lidc.find, open=hounsfield.open_slice),
    "m3dsynth": Reader(what="M3Dsynth's tampered lung CT", find=m3dsynth.find, open=m3dsynth.open_slice),
    "folder": Reader(what="a folder with real/ and fake/", find=folder.find, open=hounsfield.open_any),
    "spool": Reader(what="what a node received", find=_find_spool, open=hounsfield.open_any),
}


def opened(record: Record) -> Opened:
    """A record's pixels, read now.

    Raises: PixelError where they can't be.
    """
    return CATALOGUE[record.reader].open(record)


def load(record: Record) -> Sample:
    """The sample of a record: its pixels, read now.

    Raises: PixelError where they can't be read.
    """
    return as_sample(record, opened(record))
