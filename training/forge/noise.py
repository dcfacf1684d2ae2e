"""Noise that does not belong: smoothed, added, or cloned from elsewhere.

Source: CT-GAN's touch-up, which clones a cube of noise from a fixed spot (Mirsky et al. 2019), and noise
inconsistency as in splicing forensics. Ranges: Gaussian or median smoothing σ 0.6 to 1.6 px, added noise
0.4 to 1.6 of the image's own level, cloned residual × 0.7 to 1.3; one in five only ever raises values, as
CT-GAN's injection does.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter

from training.forge.site import Array, Site, blend, coloured_noise, highpass


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    choice = rng.integers(4)
    if choice == 0:
        patch = gaussian_filter(site.image, rng.uniform(0.6, 1.6))
    elif choice == 1:
        patch = median_filter(site.image, size=int(rng.choice([3, 5])))
    elif choice == 2:
        patch = site.image + coloured_noise(site.image.shape, site.sigma * rng.uniform(0.6, 1.6), rng)
    else:
        patch = gaussian_filter(site.image, rng.uniform(0.8, 1.5)) + highpass(site.donor) * rng.uniform(0.7, 1.3)
    if choice < 2 and rng.random() < 0.5:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.3, 1.0), rng)
    if rng.random() < 0.2:
        patch = np.maximum(patch, site.image)
    return blend(site.image, patch, site.mask)
