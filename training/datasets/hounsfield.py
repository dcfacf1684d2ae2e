"""CT slices in HU with what lies outside the scanner's field of view as air."""

from dataclasses import replace

import numpy as np

from training.datasets.images import open_image
from training.datasets.record import Opened, Record, discs
from training.datasets.sample import Array

AIR_HU = -1000.0
# Scanners fill the corners with -2000, -2048 or -3024; no matter is below -1024.
_PADDING_BELOW_HU = -1500.0


def without_padding(values: Array) -> Array:
    """HU, rounded to whole units, padding as air."""
    rounded = np.rint(values).astype(np.float32)
    rounded[rounded < _PADDING_BELOW_HU] = AIR_HU
    return rounded


def open_slice(record: Record) -> Opened:
    """One CT slice in HU; where the record tells places of tampering, they are its mask, as discs.

    ``stored`` keeps the range before padding became air: it is what the file shows.
    """
    opened = open_image(record.path, record.frame)
    places = record.reading.get("discs")
    mask = discs(str(places), opened.values.shape) if places else None
    return replace(opened, values=without_padding(opened.values), mask=mask, stored=opened.stored)
