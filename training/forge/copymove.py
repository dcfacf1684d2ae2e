"""G6, copy-move: another part of the same image, turned and scaled, over this one.

Source: copy-move of lesions or of healthy tissue within one scan (CT-GAN's evaluation compares with it;
Mirsky et al. 2019). Ranges: turn ±180° (half of them ±10°, upright anatomy), scale 0.8 to 1.2, feather 2 to 6 px;
level matched along the rim for 60 %, over the whole patch for 25 %, not at all for 15 %.
"""

import numpy as np

from training.forge.resampling import warped
from training.forge.site import Array, Site, blend, feathered


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    turn_rad = np.pi if rng.random() < 0.5 else 0.17
    patch = warped(site.donor, rng, turn_rad=turn_rad, scale=(0.8, 1.2), shift_px=4.0)
    matching, feather_px = rng.random(), rng.uniform(2.0, 6.0)
    mask = feathered(site.mask, feather_px)
    if mask.max() < 0.9:
        mask = site.mask
    if matching < 0.85:
        where = ((mask > 0) & (mask < 0.9)).astype(np.float32) if matching < 0.6 else mask
        patch = patch + float(((site.image - patch) * where).sum()) / max(float(where.sum()), 1e-6)
    return blend(site.image, patch, mask)
