"""Whole-image resynthesis: the traces of a decoder that up-samples.

Source: up-sampling artefacts of generators (Odena et al. 2016; Zhang et al. 2019; Tan et al. 2024, NPR).
The image is brought to a coarser grid and back by one of: nearest with a small learnable-like kernel,
zero insertion with an uneven kernel (checkerboard), or interpolation with periodic gain. Factor 2 mostly;
peaks at Nyquist/2 and /4 of 2 to 8 % of the local detail; noise of the image's own level is partly put back.
"""

import numpy as np
from scipy.ndimage import convolve, gaussian_filter, zoom

from training.forge.resampling import round_trip
from training.forge.site import Array, Site, coloured_noise


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the resynthesised image (H, W) float32."""
    choice = rng.integers(3)
    if choice == 0:
        result = _decoder(site.image, rng, zero_insertion=bool(rng.random() < 0.6))
    elif choice == 1:
        result = round_trip(site.image, rng.uniform(0.45, 0.75), 1, int(rng.choice([0, 1, 3])))
    else:
        result = _periodic(gaussian_filter(site.image, rng.uniform(0.4, 0.9)), rng)
    if rng.random() < 0.6:
        result = result + coloured_noise(result.shape, site.sigma * rng.uniform(0.2, 0.9), rng)
    return result.astype(np.float32)


def _decoder(image: Array, rng: np.random.Generator, *, zero_insertion: bool) -> Array:
    height, width = image.shape
    padded = np.pad(image, ((0, height % 2), (0, width % 2)), mode="reflect")
    small = zoom(gaussian_filter(padded, 0.6), 0.5, order=1, grid_mode=True, mode="reflect")
    kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) * rng.uniform(0.8, 1.2, (3, 3)).astype(np.float32)
    if zero_insertion:
        large = np.zeros((small.shape[0] * 2, small.shape[1] * 2), np.float32)
        large[::2, ::2] = small
        kernel *= 4 / kernel.sum()
    else:
        large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
        kernel /= kernel.sum()
    return convolve(large, kernel, mode="reflect")[:height, :width]


def _periodic(image: Array, rng: np.random.Generator) -> Array:
    period = int(rng.choice([2, 2, 4]))
    pattern = rng.standard_normal((period, period)).astype(np.float32)
    pattern -= pattern.mean()
    tiles = [-(-size // period) for size in image.shape]
    grid = np.tile(pattern, tiles)[: image.shape[0], : image.shape[1]]
    detail = gaussian_filter(np.abs(image - gaussian_filter(image, 3.0)), 4.0)
    return image + grid * detail * rng.uniform(0.05, 0.25)
