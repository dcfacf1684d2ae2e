"""Copy-move: another part of the same image, turned and scaled, over this one.

Source: copy-move of lesions or of healthy tissue within one scan (CT-GAN's evaluation compares with it;
Mirsky et al. 2019). Ranges: turn ±180°, scale 0.8 to 1.2, level matched for 70 %; the mask's own soft edge.
"""

import numpy as np

from training.forge.resampling import warped
from training.forge.site import Array, Site, blend


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    patch = warped(site.donor, rng, turn_rad=np.pi, scale=(0.8, 1.2), shift_px=4.0)
    if rng.random() < 0.7:
        weight = max(float(site.mask.sum()), 1e-6)
        patch = patch + float(((site.image - patch) * site.mask).sum()) / weight
    return blend(site.image, patch, site.mask)
