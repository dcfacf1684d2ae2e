"""CT-GAN's way of editing a scan, step by step, with any painter in the place of its generator.

Source: the published attack (Mirsky et al., USENIX Security 2019; its reference code, MIT): a cube of 32 mm is cut
out, brought to 32³ voxels of 1 mm (order 3), its inner 20 mm is painted anew by the generator, which redraws the
rim too; the cube goes back to the scan's own grid (order 3) and replaces what was there. Then the touch-up, on a cube
of 1.3 times the longest side, in voxels, along all three axes: noise from a fixed spot (z 50 %, y 43 %, x 27 % of the
scan, all above -800 HU made flat) is added; an injection is weighted by sigmoid((HU + 700) / 70) and a Gaussian kernel
(3 σ wide) and may only raise values (``maximum``), a removal is an alpha blend through a flat kernel (0.1 σ). The
kernels fall off within the slice alone, so that slices far from the edit change too. Values go to whole numbers
towards zero, as a conversion of floats to integers does.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter, zoom
from scipy.special import ndtr

from training.forge.change import change_mask, is_visible
from training.forge.site import Array, noise_sigma
from training.forge.volume import ForgedVolume, Spacing, Voxel

Action = Literal["inject", "remove"]
Painter = Callable[[Array, Action, np.random.Generator], Array]

SIDE_MM = 32
INNER = slice(6, 26)
_NOISE_SPOT = (0.5, 0.43, 0.27)
_FLAT_HU = -800.0


def tamper(
    volume: Array, spacing_mm: Spacing, centre: Voxel, action: Action, *, seed: int, painter: Painter | None = None
) -> ForgedVolume:
    """A scan (Z, H, W) float32 in HU with a nodule injected or removed at a voxel (z, y, x).

    ``painter`` gets the cube (32, 32, 32) in HU at 1 mm, the action and a generator of random numbers, and returns
    the cube; ``paint`` where none is given.

    Raises: ValueError where the cube would be cut by the scan's border within the slice, or the centre is outside.
    """
    sides = tuple(max(2, round(SIDE_MM / step)) for step in spacing_mm)
    start = [place - side // 2 for place, side in zip(centre, sides, strict=True)]
    ends = [low + side for low, side in zip(start[1:], sides[1:], strict=True)]
    if not 0 <= centre[0] < len(volume) or min(start[1:]) < 0 or ends[0] > volume.shape[1] or ends[1] > volume.shape[2]:
        raise ValueError(f"a cube of {SIDE_MM} mm at {centre} isn't inside a volume of {volume.shape}")
    padded = np.pad(volume, ((sides[0], sides[0]), (0, 0), (0, 0)), mode="edge")
    area = tuple(slice(low, low + side) for low, side in zip((start[0] + sides[0], *start[1:]), sides, strict=True))
    clean = padded[area]
    cube = _resized(clean, (SIDE_MM,) * 3)
    painted = _bounded((painter or paint)(cube, action, np.random.default_rng(seed)))
    padded[area] = _resized(painted, sides)
    pasted = padded[sides[0] : sides[0] + len(volume)]
    block = _block(volume.shape, centre, int(1.3 * max(sides)))
    result = volume.copy()
    result[block] = np.trunc(_touched_up(volume[block], pasted, block, centre, int(1.3 * max(sides)), action))
    sigma = noise_sigma(volume[(centre[0], *area[1:])])
    mask = np.zeros_like(volume)
    mask[block] = change_mask(volume[block], result[block], result[block] != volume[block], sigma)
    inner = np.zeros(volume.shape, bool)
    inner[
        tuple(slice(max(0, place - side // 4), place + side // 4) for place, side in zip(centre, sides, strict=True))
    ] = True
    seen = is_visible(np.where(inner, mask, 0), inner)
    return ForgedVolume(image=result, mask=mask, family=f"cuboid-{action}", visible=seen)


def paint(cube: Array, action: Action, rng: np.random.Generator) -> Array:
    """What a generator paints, without one: the cube redrawn a little too smooth, its middle new.

    Removal: the inner 20 mm from the rim's darker 60 % by normalised convolution (σ 5 mm), with noise of half the
    cube's level. Injection: a blob of 4 to 8 mm radius with a soft edge (1 to 2 mm), spiculated by smooth noise (30 %),
    at -50 to 80 HU, with texture of 30 HU.
    """
    smooth = gaussian_filter(cube, 0.5)
    if action == "inject":
        return _with_nodule(smooth, rng).astype(np.float32)
    rim = np.ones_like(cube)
    rim[INNER, INNER, INNER] = 0
    dark = np.minimum(cube, np.percentile(cube, 60))
    filled = gaussian_filter(dark * rim, 5.0) / np.maximum(gaussian_filter(rim, 5.0), 1e-3)
    noise = gaussian_filter(rng.standard_normal(cube.shape), 0.6)
    filled = filled + noise / noise.std() * 0.5 * noise_sigma(cube[SIDE_MM // 2])
    weight = gaussian_filter(1 - rim, 1.5)
    return (smooth + weight * (filled - smooth)).astype(np.float32)


def _with_nodule(cube: Array, rng: np.random.Generator) -> Array:
    grid = np.mgrid[:SIDE_MM, :SIDE_MM, :SIDE_MM] - (SIDE_MM - 1) / 2 - rng.uniform(-2, 2, 3)[:, None, None, None]
    axes = rng.uniform(4.0, 8.0) * rng.uniform(0.8, 1.25, 3)
    rough = gaussian_filter(rng.standard_normal(cube.shape), 2.0)
    distance = np.sqrt(((grid / axes[:, None, None, None]) ** 2).sum(axis=0)) + 0.3 * rough / rough.std()
    weight = 1 / (1 + np.exp(np.clip((distance - 1) * axes.mean() / rng.uniform(0.5, 1.0), -30, 30)))
    texture = gaussian_filter(rng.standard_normal(cube.shape), 1.0)
    level = rng.uniform(-50, 80) + 30 * texture / texture.std()
    return cube + weight * (np.maximum(level, cube) - cube)


def _bounded(cube: Array) -> Array:
    """Above 2000 HU the mean of 5³ voxels, nothing below -1000 HU."""
    return np.maximum(np.where(cube > 2000, uniform_filter(cube, 5), cube), -1000)


def _resized(cube: Array, shape: tuple[int, ...]) -> Array:
    return zoom(cube, [new / old for new, old in zip(shape, cube.shape, strict=True)], order=3, mode="nearest")


def _block(shape: tuple[int, ...], centre: Voxel, side: int) -> tuple[slice, ...]:
    """The voxels that the touch-up reaches."""
    starts = [place - side // 2 for place in centre]
    return tuple(slice(max(0, start), min(size, start + side)) for start, size in zip(starts, shape, strict=True))


def _touched_up(
    before: Array, pasted: Array, block: tuple[slice, ...], centre: Voxel, side: int, action: Action
) -> Array:
    after = pasted[block] + _cloned_noise(pasted, before.shape)
    starts = [place - side // 2 for place in centre]
    rows, columns = (slice(block[axis].start - starts[axis], block[axis].stop - starts[axis]) for axis in (1, 2))
    kernel = _kernel(side, 3.0 if action == "inject" else 0.1)[rows, columns]
    if action == "remove":
        return after * kernel + before * (1 - kernel)
    weight = kernel / (1 + np.exp(np.clip((-700 - pasted[block]) / 70, -30, 30)))
    return np.maximum(after * weight + before * (1 - weight), before)


def _cloned_noise(volume: Array, shape: tuple[int, ...]) -> Array:
    """Noise (Z, H, W) from the reference code's fixed spot."""
    starts = [
        int(np.clip(share * size - side // 2, 0, size - side))
        for share, size, side in zip(_NOISE_SPOT, volume.shape, shape, strict=True)
    ]
    spot = volume[tuple(slice(start, start + side) for start, side in zip(starts, shape, strict=True))]
    dark = spot <= max(_FLAT_HU, float(np.percentile(spot, 10)))
    noise = np.where(dark, spot, spot[dark].mean())
    return (noise - noise.mean()).astype(np.float32)


def _kernel(side: int, width: float) -> Array:
    """The reference code's kernel (side, side): the root of a sampled Gaussian of ``width`` σ, stretched to 0..1."""
    interval = (2 * width + 1) / side
    line = np.diff(ndtr(np.linspace(-width - interval / 2, width + interval / 2, side + 1)))
    kernel = np.sqrt(np.outer(line, line))
    return ((kernel - kernel.min()) / (kernel.max() - kernel.min())).astype(np.float32)
