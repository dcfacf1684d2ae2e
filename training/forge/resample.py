"""G7, resampling trace inside the mask only.

Source: the generator's grid in CT-GAN (isotropic 1 mm voxels, order 3, and back; Mirsky et al. 2019), its nearest
up-sampling, and super-resolution at ×2 to ×3. Ranges: down to 0.4 to 0.75 by nearest, linear or cubic
interpolation or by areas, and up by nearest, linear or cubic; 1 mm from pixels of 0.45 to 0.8 mm by order 3 both
ways (LIDC-IDRI: 0.46 to 0.98 mm, median 0.70; nearer to 1 mm little is lost); super-resolution with the edges
sharpened again (0.3 to 0.8); or a sub-pixel warp of at least 0.3 px. Half of the time 0.3 to 0.9 of the lost noise
is put back.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from training.forge.resampling import round_trip, warped
from training.forge.site import Array, Site, blend, coloured_noise, highpass


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    choice = rng.choice(["grid", "grid", "millimetre", "super", "warp"])
    if choice == "grid":
        factor, down = rng.uniform(0.4, 0.75), int(rng.choice([-1, 0, 1, 3]))
        image = gaussian_filter(site.image, 0.45 / factor) if down < 0 else site.image
        patch = round_trip(image, factor, max(down, 1) if down else 0, int(rng.choice([0, 1, 1, 3, 3])))
    elif choice == "millimetre":
        patch = round_trip(site.image, rng.uniform(0.45, 0.8), 3, 3)
    elif choice == "super":
        patch = round_trip(gaussian_filter(site.image, 0.7), 1 / rng.uniform(2.0, 3.0), 1, 3)
        patch = patch + rng.uniform(0.3, 0.8) * highpass(patch)
    else:
        patch = warped(site.image, rng, turn_rad=0.07, scale=(0.95, 1.05), shift_px=1.0, least_px=0.3)
    if rng.random() < 0.5:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.3, 0.9), rng, site.layer)
    return blend(site.image, patch, site.mask)
