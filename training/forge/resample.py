"""Resampling trace inside the mask only.

Source: the generator's grid in CT-GAN (1 mm voxels, order 3, and back; Mirsky et al. 2019) and its nearest
up-sampling. Ranges: factor 0.4 to 0.8 down and up, or a sub-pixel warp; half of the time part of the lost
noise is put back.
"""

import numpy as np

from training.forge.resampling import round_trip, warped
from training.forge.site import Array, Site, blend, coloured_noise


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    if rng.random() < 0.75:
        patch = round_trip(
            site.image, rng.uniform(0.4, 0.8), int(rng.choice([0, 1, 3])), int(rng.choice([0, 1, 1, 3, 3]))
        )
    else:
        patch = warped(site.image, rng, turn_rad=0.05, scale=(0.97, 1.03), shift_px=0.7)
    if rng.random() < 0.5:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.3, 0.9), rng)
    return blend(site.image, patch, site.mask)
