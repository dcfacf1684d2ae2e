"""G8, noise that does not belong: smoothed, added, or cloned from elsewhere.

Source: CT-GAN's touch-up (Mirsky et al. 2019), which adds a cube of noise copied from a fixed spot of the scan,
whatever is there above -800 HU made flat, or Gaussian noise; and noise inconsistency as in splicing forensics.
Ranges: Gaussian σ 0.8 to 1.6 px, median of 3 or 5 px, or non-local (an average of 8 shifts up to 3 px, weighted by
likeness); added noise 0.6 to 1.6 of the image's own level; cloned residual × 0.7 to 1.3 over the smoothed image;
the touch-up as it is, × 0.8 to 1.2. One in seven only ever raises values, as CT-GAN's injection does.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter, uniform_filter

from training.forge.site import Array, Site, blend, coloured_noise, highpass

_TOUCH_UP_HU = -800.0


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    choice = rng.choice(["gaussian", "median", "non-local", "added", "added", "cloned", "touch-up"])
    if choice == "gaussian":
        patch = gaussian_filter(site.image, rng.uniform(0.8, 1.6))
    elif choice == "median":
        patch = median_filter(site.image, size=int(rng.choice([3, 5])))
    elif choice == "non-local":
        patch = _non_local(site.image, site.sigma, rng)
    elif choice == "added":
        patch = site.image + coloured_noise(site.image.shape, site.sigma * rng.uniform(0.6, 1.6), rng, site.layer)
    elif choice == "cloned":
        patch = gaussian_filter(site.image, rng.uniform(0.8, 1.5)) + highpass(site.donor) * rng.uniform(0.7, 1.3)
    else:
        patch = site.image + touch_up(site.donor) * rng.uniform(0.8, 1.2)
    if choice in ("gaussian", "median", "non-local") and rng.random() < 0.5:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.3, 1.0), rng, site.layer)
    if rng.random() < 0.15:
        patch = np.maximum(patch, site.image)
    return blend(site.image, patch, site.mask)


def touch_up(donor: Array) -> Array:
    """The donor's own deviation from its mean, what isn't lung or background made flat; at most ±150 units.

    In images without negative values the darker half is what counts.
    """
    threshold = max(_TOUCH_UP_HU, float(np.median(donor)))
    dark = donor <= threshold
    level = float(donor[dark].mean())
    noise = np.where(dark, donor, level) - level
    return np.clip(noise - noise.mean(), -150, 150).astype(np.float32)


def _non_local(image: Array, sigma: float, rng: np.random.Generator) -> Array:
    """A light non-local mean: each shift weighs by how alike the 3×3 surroundings are."""
    strength = (sigma * rng.uniform(1.0, 3.0)) ** 2
    total, weights = image.copy(), np.ones_like(image)
    for _ in range(8):
        dy, dx = rng.integers(-3, 4, 2)
        shifted = np.roll(image, (int(dy), int(dx)), (0, 1))
        distance = uniform_filter((shifted - image) ** 2, 3)
        weight = np.exp(-np.maximum(distance - 2 * sigma**2, 0) / strength)
        total += weight * shifted
        weights += weight
    return total / weights
