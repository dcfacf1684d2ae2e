"""CT slices in HU with what lies outside the scanner's field of view as air."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import label

from training.datasets.images import open_image
from training.datasets.record import Opened, Record, discs
from training.datasets.sample import Array

AIR_HU = -1000.0
# Scanners fill the corners with -2000, -2048 or -3024; no matter is below -1024.
_PADDING_BELOW_HU = -1500.0
_LUNG_BELOW_HU = -400.0


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
    values = without_padding(opened.values)
    return replace(opened, values=values, mask=mask, lung_fraction=lung_fraction(values))


def open_any(record: Record) -> Opened:
    """An image as it is stored; of one in HU it is measured how much of it is lung."""
    opened = open_image(record.path, record.frame)
    return replace(opened, lung_fraction=lung_fraction(opened.values)) if opened.units == "HU" else opened


def lung_fraction(values: Array) -> float:
    """The share of a body (H, W) in HU that is lung: what is below -400 HU and nowhere reaches the image's edge.

    A slice with lung has 0.1 and more; one whose lungs are cut by the field of view may have 0.
    """
    light = values < _LUNG_BELOW_HU
    pieces, _ = label(light)
    outside = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    lung = int((light & ~np.isin(pieces, outside)).sum())
    return round(lung / max(1, lung + int((~light).sum())), 4)
