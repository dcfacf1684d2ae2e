"""Nodule injection: a dense blob with texture that only ever raises values, or one that is levelled out.

Source: CT-GAN's injection, a sigmoid-weighted blend and ``np.maximum(blend, original)`` (Mirsky et al. 2019).
Ranges: radius 0.35 to 0.9 of the mask's, contrast 0.25 to 1 of the local range, edge 1 to 4 px, texture of
correlation 1 to 4 px at up to 15 % of the contrast, own noise 0.2 to 1.2 of the image's; 60 % one-sided;
an optional round trip over another grid.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from training.forge.resampling import round_trip
from training.forge.site import Array, Site, blend, coloured_noise


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    core = gaussian_filter((site.mask > rng.uniform(0.3, 0.95)).astype(np.float32), rng.uniform(1.0, 4.0))
    core /= max(float(core.max()), 1e-6)
    contrast = site.spread * rng.uniform(0.25, 1.0)
    texture = gaussian_filter(rng.standard_normal(core.shape).astype(np.float32), rng.uniform(1.0, 4.0))
    texture *= contrast * rng.uniform(0, 0.15) / max(float(texture.std()), 1e-6)
    smooth = gaussian_filter(site.image, rng.uniform(0.7, 2.5))
    patch = smooth + core * (contrast + texture)
    patch = patch + coloured_noise(core.shape, site.sigma * rng.uniform(0.2, 1.2), rng)
    if rng.random() < 0.4:
        patch = round_trip(patch, rng.uniform(0.5, 0.9), 1, int(rng.choice([1, 3])))
    if rng.random() < 0.6:
        patch = np.maximum(patch, site.image)
    return blend(site.image, patch, site.mask)
