"""One image in memory: what the forge, the training and the evaluation are given."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Fact = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image (H, W) float32 in native units: HU for CT, the stored grey for radiographs.

    ``patient`` is the unit of the split: near-duplicates of one image have the same. ``series`` groups slices and
    ``position`` orders them. ``label`` is "real" or "fake", ``generator`` names what made a fake, ``mask`` (H, W) in
    0..1 marks what it altered where that is known. ``sha256`` is of the pixel values, ``stored`` is what a classifier
    could see without looking at a pixel. ``part`` is "train", "validation" or "test" where the data set fixes the
    split, else empty.
    """

    image: Array
    patient: str
    source: str
    name: str
    series: str = ""
    position: float = 0.0
    lung_fraction: float = 1.0
    axial: bool = True
    label: str = "real"
    generator: str = ""
    mask: Array | None = None
    lossy: bool = False
    spacing_mm: tuple[float, float] | None = None
    sha256: str = ""
    stored: Mapping[str, Fact] = field(default_factory=dict)
    part: str = ""
