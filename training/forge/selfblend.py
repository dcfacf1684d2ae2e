"""G4, self-blended patch: the image's own content, slightly altered, over itself.

Source: self-blended images (Shiohara and Yamasaki, CVPR 2022): brightness and contrast ±0.1, one of down-scaling
or sharpening (0.2 to 0.5), translation ±3 % across and ±1.5 % down, scale 0.95 to 1/0.95, elastic mask, blend
ratio from 0.25, 0.5, 0.75, 1, 1, 1. Ranges here: gain ±10 %, offset ±12 % of the local range (10 to 40 HU in
soft tissue), one of blur (σ 0.5 to 1.5 px), sharpening (0.2 to 0.9), a round trip over a grid of 0.5 to 0.8, or
none; shift up to 3 px, scale 0.95 to 1.05, turn up to 4°; ratio from 0.5, 0.75, 1, 1, 1: at 0.25 the change is
below the noise.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from training.forge.resampling import round_trip, warped
from training.forge.site import Array, Site, blend, highpass


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    patch = site.image
    if rng.random() < 0.7:
        patch = warped(patch, rng, turn_rad=0.07, scale=(0.95, 1.05), shift_px=3.0)
    choice = rng.integers(4)
    if choice == 0:
        patch = gaussian_filter(patch, rng.uniform(0.5, 1.5))
    elif choice == 1:
        patch = patch + rng.uniform(0.2, 0.9) * highpass(patch)
    elif choice == 2:
        patch = round_trip(patch, rng.uniform(0.5, 0.8), 1, 1)
    middle = float((patch * site.mask).sum() / max(float(site.mask.sum()), 1e-6))
    patch = middle + (patch - middle) * rng.uniform(0.9, 1.1) + rng.uniform(-0.12, 0.12) * site.spread
    return blend(site.image, patch, site.mask * rng.choice([0.5, 0.75, 1.0, 1.0, 1.0]))
