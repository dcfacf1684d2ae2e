"""G10, whole-image resynthesis: the traces of a decoder that up-samples, and its spectrum.

Source: up-sampling artefacts of generators (Odena et al. 2016; Zhang et al. 2019; Tan et al. 2024, NPR) and their
spectra (Durall et al. 2020: high frequencies fall off; Frank et al. 2020: peaks of the grid). One of: nearest
up-sampling or zero insertion by 2 with an uneven 3×3 kernel (±20 %; checkerboard); nearest up-sampling alone from a
grid of 0.45 to 0.75; a periodic gain of 15 to 35 % of the local detail at Nyquist or half of it; the spectrum itself:
rolled off from 0.35 to 0.65 of Nyquist on, by a power of 1.5 to 4, with peaks at Nyquist, /2 and /4 of 0.15 to 0.6 of
the level of its detail. For 60 % 0.2 to 0.9 of the image's own noise is put back. A plain loss of resolution isn't
among them: honest resizing and smooth kernels do that too. Every grid begins anywhere, not at the image's corner.
"""

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import convolve, correlate1d, gaussian_filter, uniform_filter

from training.forge.resampling import round_trip
from training.forge.site import Array, Site, coloured_noise, highpass

# The longest period of a grid below.
_PHASE_PX = 8


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the resynthesised image (H, W) float32."""
    before = [int(rng.integers(_PHASE_PX)) for _ in range(2)]
    shifted = np.pad(site.image, [(width, 0) for width in before], mode="reflect")
    result = _resynthesised(shifted, rng)[before[0] :, before[1] :]
    if rng.random() < 0.6:
        result = result + coloured_noise(result.shape, site.sigma * rng.uniform(0.2, 0.9), rng, site.layer)
    return result.astype(np.float32)


def _resynthesised(image: Array, rng: np.random.Generator) -> Array:
    choice = rng.integers(4)
    if choice == 0:
        return _decoder(image, rng, zero_insertion=bool(rng.random() < 0.6))
    if choice == 1:
        return round_trip(image, rng.uniform(0.45, 0.75), 1, 0)
    if choice == 2:
        return _periodic(gaussian_filter(image, rng.uniform(0.5, 0.9)), rng)
    return _spectral(image, rng)


def _decoder(image: Array, rng: np.random.Generator, *, zero_insertion: bool) -> Array:
    height, width = image.shape
    # The kernel's unevenness acts on what is there, not on how far air is from 0 HU.
    base = uniform_filter(image, 15, mode="reflect")
    padded = np.pad(image - base, ((0, height % 2), (0, width % 2)), mode="reflect")
    padded = correlate1d(correlate1d(padded, [0.2, 0.6, 0.2], axis=0), [0.2, 0.6, 0.2], axis=1)
    small = (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4
    kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) * rng.uniform(0.8, 1.2, (3, 3)).astype(np.float32)
    if zero_insertion:
        large = np.zeros((small.shape[0] * 2, small.shape[1] * 2), np.float32)
        large[::2, ::2] = small
        kernel *= 4 / kernel.sum()
    else:
        large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
        kernel /= kernel.sum()
    result = base + convolve(large, kernel, mode="reflect")[:height, :width]
    return _grid(result, 2, float(highpass(image).std()) * rng.uniform(0.05, 0.4), rng) if zero_insertion else result


def _grid(image: Array, period: int, level: Array | float, rng: np.random.Generator) -> Array:
    """The image with a random pattern of some pixels repeated all over it, scaled by ``level``."""
    pattern = rng.standard_normal((period, period)).astype(np.float32)
    pattern -= pattern.mean()
    tiles = [-(-size // period) for size in image.shape]
    return image + np.tile(pattern, tiles)[: image.shape[0], : image.shape[1]] * level


def _periodic(image: Array, rng: np.random.Generator) -> Array:
    return _grid(image, int(rng.choice([2, 2, 4])), _detail(image) * rng.uniform(0.15, 0.35), rng)


def _spectral(image: Array, rng: np.random.Generator) -> Array:
    # Reflected by 16 px, so that the spectrum has no cross from the borders.
    padded = np.pad(image, 16, mode="reflect")
    spectrum = rfft2(padded)
    rows = np.abs(np.fft.fftfreq(padded.shape[0])).astype(np.float32)[:, None]
    columns = np.fft.rfftfreq(padded.shape[1]).astype(np.float32)[None, :]
    corner, power = 0.5 * rng.uniform(0.35, 0.65), rng.uniform(1.5, 4.0)
    spectrum *= (np.maximum(np.hypot(rows, columns), corner) / corner) ** -power
    result = irfft2(spectrum, s=padded.shape)[16:-16, 16:-16].astype(np.float32)
    period = int(rng.choice([2, 4, 8]))
    waves = [np.cos(2 * np.pi * np.arange(size, dtype=np.float32) / period) for size in image.shape]
    grid = waves[0][:, None] * waves[1] if rng.random() < 0.5 else waves[0][:, None] + waves[1]
    return result + grid * float(highpass(image).std()) * rng.uniform(0.15, 0.6)


def _detail(image: Array) -> Array:
    """How much detail there is about each pixel."""
    return uniform_filter(np.abs(image - uniform_filter(image, 7)), 9)
