"""What the learned families share: normalisation of a patch, its way to the network's grid and back, the touch-up.

Source: CT-GAN (Mirsky et al. 2019, its published code): a cube about the place is normalised and brought to the
network's grid, its inner part is repainted, brought back by interpolation, given noise again and pasted through a
mask. Here values are normalised by a linear window of the patch's own surroundings (below) in place of an
equalised histogram, so that modality units (HU) come back exactly; and the grid is the image's own unless the
place is too large for the network, or by chance the coarser grid that CT-GAN's 1 mm voxels are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import irfft2, rfft2
from scipy.ndimage import binary_dilation, uniform_filter
from torch import Tensor
from torch.nn.functional import interpolate

from training.forge.site import Array, Site, highpass

CLIP = 2.0
"""Normalised values stay within ±CLIP; about ±0.5 is the range of a patch."""
_TAILS = (2.0, 98.0)
_LEAST_SIGMAS = 8.0
# A median of so many values is good to about one percent.
_MANY = 6001


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The linear map between modality units and the network's: ``(value - middle) / scale``."""

    middle: float
    scale: float

    @classmethod
    def of(cls, known: Array, sigma: float) -> "Window":
        """From the values that are known (any shape): the 2nd to 98th percentile is one unit wide.

        The unit is at least eight noise levels, so that noise in an even region stays small.
        """
        low, high = np.percentile(known, _TAILS)
        return cls(middle=float(low + high) / 2, scale=float(max(high - low, _LEAST_SIGMAS * sigma, 1.0)))

    def normalised(self, values: Array) -> Array:
        """Modality units to the network's, clipped."""
        return np.clip((values - self.middle) / self.scale, -CLIP, CLIP).astype(np.float32)

    def restored(self, values: Array) -> Array:
        """The network's units to modality units."""
        return (np.clip(values, -CLIP, CLIP) * self.scale + self.middle).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrasts:
    """How much denser than its rim the middle of a hole is asked to be, in normalised units (low, high)."""

    inject: tuple[float, float]
    remove: tuple[float, float]

    def draw(self, rng: np.random.Generator) -> tuple[bool, float]:
        """Whether to inject (one in two), and the contrast."""
        inject = rng.random() < 0.5
        return inject, float(rng.uniform(*(self.inject if inject else self.remove)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A square about the mask, within the image; ``side`` pixels; shorter where the image is."""

    rows: slice
    columns: slice

    @property
    def area(self) -> tuple[slice, slice]:
        """The index of the region in the image."""
        return self.rows, self.columns


def box(mask: Array, threshold: float = 0.01) -> tuple[slice, slice]:
    """The smallest rectangle that holds the mask; the middle pixel of an empty one."""
    found = []
    for axis in (1, 0):
        places = np.flatnonzero((mask > threshold).any(axis=axis))
        middle = mask.shape[1 - axis] // 2
        found.append(slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(middle, middle + 1))
    return found[0], found[1]


def region_about(mask: Array, inner_share: float, least_px: int, multiple: int = 1) -> Region:
    """A square whose inner ``inner_share`` holds the mask, at least ``least_px`` wide, moved into the image.

    The side is a multiple of ``multiple`` where the image is large enough.
    """
    edges = box(mask)
    longest = max(edge.stop - edge.start for edge in edges)
    side = max(least_px, int(np.ceil(longest / inner_share)))
    side += -side % multiple
    found = []
    for edge, size in zip(edges, mask.shape, strict=True):
        start = int(np.clip((edge.start + edge.stop) // 2 - side // 2, 0, max(0, size - side)))
        found.append(slice(start, min(start + side, size)))
    return Region(rows=found[0], columns=found[1])


def resized(values: Array, shape: tuple[int, ...]) -> Array:
    """The patch on another grid: averaged on the way down, cubic on the way up."""
    if values.shape == tuple(shape):
        return values
    smaller = shape[0] < values.shape[0]
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return interpolate(tensor, shape, mode="bicubic", antialias=smaller, align_corners=False)[0, 0].numpy()


def generator_of(rng: np.random.Generator) -> torch.Generator:
    """A torch generator on the CPU that continues ``rng``, so that one seed decides everything."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def hole_of(mask: Array, rng: np.random.Generator) -> Array:
    """What is repainted: the box about the mask as in CT-GAN, or the mask with a rim of one or two pixels."""
    if rng.random() < 0.5:
        hole = np.zeros(mask.shape, np.float32)
        hole[box(mask)] = 1
        return hole
    return binary_dilation(mask > 0.01, iterations=int(rng.integers(1, 3))).astype(np.float32)


def touched_up(patch: Array, site: Site, region: Region, rng: np.random.Generator, share: float) -> Array:
    """The patch with the noise that it lacks against its surroundings, times ``share``.

    Half of the time the noise is cloned from another part of the image, as CT-GAN's touch-up does (which flattens
    structures in it; here they are left out); else, and in their place, it has the spectrum of the image's own
    residual and random phases.
    """
    residual, inside = highpass(site.image[region.area]), site.mask[region.area] > 0.3
    wanted = _level(residual[~inside])
    missing = np.sqrt(max(wanted**2 - _level(highpass(patch)[inside]) ** 2, 0.0))
    noise = _of_same_spectrum(residual, rng)
    if rng.random() < 0.5:
        cloned = highpass(site.donor[region.area])
        structure = uniform_filter(np.abs(cloned), 5, mode="reflect") > 1.6 * _level(cloned)
        ratio = _level(cloned) / max(_level(noise), 1e-3)
        noise = np.where(structure, noise * ratio, cloned)
    return (patch + noise * (missing * share / max(_level(highpass(noise)), 1e-3))).astype(np.float32)


def touched_up_whole(patch: Array, image: Array, rng: np.random.Generator, share: float) -> Array:
    """As ``touched_up`` for a whole image: noise of the residual's spectrum, and as strong as it is, place by place."""
    residual = highpass(image)
    wanted, has = _level(residual), _level(highpass(patch))
    bound = 3 * max(wanted, 1e-3)
    noise = _of_same_spectrum(residual, rng)
    noise *= uniform_filter(np.minimum(np.abs(residual), bound), 15, mode="reflect") / bound
    missing = np.sqrt(max(wanted**2 - has**2, 0.0))
    return (patch + noise * (missing * share / max(_level(highpass(noise)), 1e-3))).astype(np.float32)


def _of_same_spectrum(residual: Array, rng: np.random.Generator) -> Array:
    """Noise (H, W) with the residual's amplitudes, structures clipped, and the phases of white noise."""
    bound = 2.5 * max(_level(residual), 1e-3)
    amplitudes = np.abs(rfft2(np.clip(residual, -bound, bound)))
    white = rfft2(rng.standard_normal(residual.shape, dtype=np.float32))
    return irfft2(white / np.maximum(np.abs(white), 1e-6) * amplitudes, s=residual.shape).astype(np.float32)


def _level(residual: Array) -> float:
    if residual.size > _MANY:
        residual = residual.ravel()[:: residual.size // _MANY]
    return float(1.4826 * np.median(np.abs(residual))) if residual.size else 0.0


def painted(
    site: Site,
    rng: np.random.Generator,
    *,
    patch_px: int,
    coarser_chance: float,
    paint: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Array, Region, Window]:
    """The region about the mask with its hole repainted by ``paint(known, hole)``, each (1, 1, S, S) normalised.

    Returns the repainted region in modality units, the region, and the window. ``coarser_chance`` is the chance of
    a grid 1.1 to 1.5 times as coarse as the image's where the place would fit without.
    """
    least_px = int(patch_px * rng.uniform(1.1, 1.5)) if rng.random() < coarser_chance else patch_px
    region = region_about(site.mask, 0.62, least_px)
    original = site.image[region.area]
    hole = hole_of(site.mask[region.area], rng)
    known = original[hole < 0.5]
    window = Window.of(known if known.size > 16 else original, site.sigma)
    grid = (patch_px, patch_px)
    values = torch.from_numpy(window.normalised(resized(original, grid)))[None, None]
    holes = torch.from_numpy((resized(hole, grid) > 0.25).astype(np.float32))[None, None]
    with torch.inference_mode():
        result = paint(values * (1 - holes), holes)
    return window.restored(resized(result[0, 0].numpy(), original.shape)), region, window
