"""Nodule injection: a dense blob with texture that only ever raises values.

Source: CT-GAN's injection (Mirsky et al. 2019): the new content weighted by sigmoid((HU + 700) / 70) and
``np.maximum(blend, original)``. Ranges: the blob's edge where the mask is 0.3 to 0.95, blurred by 1 to 4 px;
for half of them a level between the local median and the highest tenth around it, as a nodule of soft tissue in
the lung, else a contrast of 0.12 to 0.6 of the local range, no brighter than the bright parts of the place; texture
of correlation 1 to 4 px at up to 15 % of the contrast; own noise 0.2 to 1.2 of the image's; 60 % one-sided; the
weight for half of those in Hounsfield units; an optional round trip over another grid.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from training.forge.resampling import round_trip
from training.forge.site import Array, Site, blend, coloured_noise, standard_noise

_HALF_HU, _WIDTH_HU = -700.0, 70.0


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    core = gaussian_filter((site.mask > rng.uniform(0.3, 0.95)).astype(np.float32), rng.uniform(1.0, 4.0))
    core /= max(float(core.max()), 1e-6)
    smooth = gaussian_filter(site.image, rng.uniform(0.7, 2.5))
    share, texture = rng.uniform(), _texture(site, rng) * rng.uniform(0, 0.15)
    middle, high = np.percentile(site.image[site.mask > 0], [50, 95])
    if rng.random() < 0.5:
        level = middle + share * (max(high, np.percentile(site.image, 90)) - middle)
        rise = np.maximum(level - smooth, 0.05 * site.spread)
    else:
        # Never brighter than what is about: dense tissue gets a faint mark, the lung a dense one.
        rise = np.minimum((0.12 + 0.48 * share) * site.spread, max(high - middle, 0.15 * site.spread))
    patch = smooth + core * rise * (1 + texture)
    patch = patch + coloured_noise(core.shape, site.sigma * rng.uniform(0.2, 1.2), rng, site.layer)
    if rng.random() < 0.4:
        patch = round_trip(patch, rng.uniform(0.5, 0.9), 1, int(rng.choice([1, 3])))
    one_sided, weighted = rng.random() < 0.6, rng.random() < 0.5
    if one_sided and weighted and site.image.min() < _HALF_HU:
        weight = 1 / (1 + np.exp(np.clip((_HALF_HU - patch) / _WIDTH_HU, -30, 30)))
        patch = site.image + weight * (patch - site.image)
    if one_sided:
        patch = np.maximum(patch, site.image)
    return blend(site.image, patch.astype(np.float32), site.mask)


def _texture(site: Site, rng: np.random.Generator) -> Array:
    """Standard deviation 1; half of it goes through all layers of a volume."""
    through, own = (standard_noise(site.image.shape, rng, layer) for layer in (0, site.layer + 1))
    texture = gaussian_filter(through + own, rng.uniform(1.0, 4.0))
    return texture / max(float(texture.std()), 1e-6)
