"""Removal without a generator: the region is filled in from its rim and given noise again.

Source: harmonic and normalised-convolution in-painting (Telea 2004 and the diffusion methods before it).
Ranges: fill by Laplace's equation or by normalised convolution (σ 3 to 8 px); noise 0.5 to 1.1 of the image's
own level, or the residual of another part of the image.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from training.forge.poisson import solve
from training.forge.site import Array, Site, blend, coloured_noise, highpass


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    inside = site.mask > 0.5
    if rng.random() < 0.5:
        patch = solve(site.image, np.zeros_like(site.image), inside, mixed=False)
    else:
        width_px = rng.uniform(3.0, 8.0)
        known = (~inside).astype(np.float32)
        total = gaussian_filter(site.image * known, width_px)
        patch = total / np.maximum(gaussian_filter(known, width_px), 1e-3)
    if rng.random() < 0.5:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.5, 1.1), rng)
    else:
        patch = patch + highpass(site.donor) * rng.uniform(0.7, 1.1)
    return blend(site.image, patch.astype(np.float32), site.mask)
