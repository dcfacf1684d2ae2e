"""Tiles of two radiographs that a package brings along: for trying the machinery out without any data."""

from pathlib import Path

import numpy as np
from pydicom.data import get_testdata_file

from medfake_pacs.pixels import decode_frames
from training.datasets.images import LIMITS
from training.datasets.sample import Sample

_TILE_PX = 224


def read(root: Path) -> list[Sample]:
    """Tiles of 224 px from the two radiographs of the package pydicom-data, as 8-bit images; ``root`` isn't read.

    For trying the machinery out: the two patients are in every part of the split, a band of tiles is a group.

    Raises: FileNotFoundError where the package is not installed.
    """
    del root
    samples = []
    for name in ("RG1_UNCR.dcm", "RG3_UNCR.dcm"):
        path = get_testdata_file(name, download=False)
        if path is None:
            raise FileNotFoundError(f"{name} of the package pydicom-data")
        values = next(iter(decode_frames(Path(str(path)), LIMITS))).values
        low, high = np.percentile(values, [0.5, 99.5])
        picture = np.rint(np.clip((values - low) * 255 / (high - low), 0, 255)).astype(np.float32)
        for top in range(0, picture.shape[0] - _TILE_PX + 1, _TILE_PX):
            for left in range(0, picture.shape[1] - _TILE_PX + 1, _TILE_PX):
                tile = picture[top : top + _TILE_PX, left : left + _TILE_PX]
                if tile.std() > 8:
                    label = f"{name}/{top}"
                    samples.append(Sample(image=tile.copy(), patient=label, source=name, name=f"{label}/{left}"))
    return samples
