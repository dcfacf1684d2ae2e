"""Takes away what tells where an image came from: a fake must not be known by the lack of its source's traces.

Files that were compressed as JPEG have borders every eight pixels, and files whose contrast was stretched at
eight bits have gaps in their histogram. Real images would have them, and images redrawn as a whole would not, so
a classifier would learn the source instead of the forgery ("Fake or JPEG?", Grommelt et al. 2024). So every
image takes part twice, as it was published and without those traces, before any fake is made: neither a trace nor
its lack tells anything. Both belong to one patient.
"""

import hashlib
from dataclasses import replace

import numpy as np
from PIL import Image

from training.datasets import Sample

CLEANED = " (cleaned)"
_GAIN = 0.95


def variants(sample: Sample, *, scale: float, requantise: bool) -> tuple[Sample, ...]:
    """The sample as it was published and, where there is something to take away, a second one without it."""
    if scale == 1.0 and not requantise:
        return (sample,)
    return sample, cleaned(sample, scale=scale, requantise=requantise)


def cleaned(sample: Sample, *, scale: float, requantise: bool) -> Sample:
    """The sample made smaller by ``scale`` (area average) and, with ``requantise``, with new whole grey levels.

    It is named apart, and no longer counts as lossy where it was made smaller. Up to seven rows and columns are left
    out first, or borders every eight pixels would come back as a pattern that always begins at the image's corner.

    New levels: the values times 0.95 with uniform noise of one level before rounding, seeded by the sample's name.
    """
    image, mask = sample.image, sample.mask
    seed = int.from_bytes(hashlib.sha256(sample.name.encode()).digest()[:8])
    rng = np.random.default_rng(seed)
    if scale != 1.0:
        top, left = (int(value) for value in rng.integers(0, 8, 2))
        image, mask = image[top:, left:], None if mask is None else mask[top:, left:]
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = np.rint(_smaller(image, size))
        mask = None if mask is None else _smaller(mask, size)
    if requantise:
        noise = rng.uniform(-0.5, 0.5, image.shape)
        image = np.clip(np.rint(image * _GAIN + noise), 0, None)
    return replace(
        sample,
        image=image.astype(np.float32),
        mask=mask,
        name=f"{sample.name}{CLEANED}",
        lossy=sample.lossy and scale == 1.0,
    )


def _smaller(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BOX))
