"""Edits of whole scans: one family through the slices of a volume, with one draw of its parameters.

Source: local tampering of CT is three-dimensional (CT-GAN, Mirsky et al. 2019; M3Dsynth, Zingarini et al. 2024): an
edit of 8 to 30 mm runs through all slices that it meets, and fades towards its poles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from training.forge import WHOLE, Forge
from training.forge.change import change_mask, is_visible
from training.forge.site import Array, Site, noise_sigma

Voxel = tuple[int, int, int]
Spacing = tuple[float, float, float]
_MARGIN_PX = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgedVolume:
    """A fake scan: ``image`` (Z, H, W) float32 and ``mask`` (Z, H, W) float32, as ``change_mask`` has it."""

    image: Array
    mask: Array
    family: str
    visible: bool


def ellipsoid(
    shape: Sequence[int], centre: Voxel, spacing_mm: Spacing, diameter_mm: float, rng: np.random.Generator
) -> Array:
    """A soft ellipsoid (Z, H, W) in 0..1 whose mean axis is ``diameter_mm``; zero along the borders of the slices.

    Axes 0.8 to 1.25 of the diameter, turned within the slice, surface waves up to 15 %, edge 1 to 3 mm in all
    directions, so that it fades in z too.
    """
    axes = rng.uniform(0.8, 1.25, 3)
    axes *= 0.5 * diameter_mm / axes.prod() ** (1 / 3)
    block, offsets = [], []
    for size, place, step in zip(shape, centre, spacing_mm, strict=True):
        reach = int((1.4 * axes.max() + 6) / step) + 1
        block.append(slice(max(0, place - reach), min(size, place + reach + 1)))
        offsets.append((np.arange(block[-1].start, block[-1].stop) - place) * step)
    dz, dy, dx = offsets[0][:, None, None], offsets[1][None, :, None], offsets[2][None, None, :]
    turn = rng.uniform(0, np.pi)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), -dx * np.sin(turn) + dy * np.cos(turn)
    angle = np.arctan2(across / axes[2], along / axes[1])
    waves = [rng.uniform(0, 0.15 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi)) for order in (2, 3)]
    distance = np.sqrt((dz / axes[0]) ** 2 + (along / axes[1]) ** 2 + (across / axes[2]) ** 2) / (1 + sum(waves))
    edge_mm = min(rng.uniform(1.0, 3.0), diameter_mm / 4)
    local = 1 / (1 + np.exp(np.clip((distance - 1) * (diameter_mm / edge_mm), -30, 30)))
    local[local < 0.01] = 0
    mask = np.zeros(tuple(shape), np.float32)
    mask[tuple(block)] = local
    mask[:, [0, -1], :] = 0
    mask[:, :, [0, -1]] = 0
    return mask


def forge_volume(
    forge: Forge,
    family: str,
    volume: Array,
    spacing_mm: Spacing,
    *,
    centre: Voxel,
    donor: Voxel,
    diameter_mm: float,
    seed: int,
    attempts: int = 4,
) -> ForgedVolume:
    """One family through a volume (Z, H, W) float32 in HU; ``centre`` and ``donor`` are voxels (z, y, x).

    Every slice draws the same parameters and its own noise; the window that is filtered is the same in all.
    Families that redraw whole images redraw every slice. Parameters are drawn anew, up to ``attempts`` times, until the
    edit can be seen.

    Raises: ValueError where the edit would be outside the volume, or the family isn't there.
    """
    if not all(0 <= place < size for place, size in zip(centre, volume.shape, strict=True)):
        raise ValueError(f"{centre} is outside a volume of {volume.shape}")
    mask = ellipsoid(volume.shape, centre, spacing_mm, diameter_mm, np.random.default_rng((seed, 0)))
    if not mask.any():
        raise ValueError(f"{centre} is on the border of the slices")
    for attempt in range(1, attempts + 1):
        forged = _once(forge, family, volume, mask, (centre, donor), (seed, attempt))
        if forged.visible:
            break
    return forged


def _once(
    forge: Forge, family: str, volume: Array, mask: Array, places: tuple[Voxel, Voxel], seed: tuple[int, int]
) -> ForgedVolume:
    (centre, donor), whole = places, family in WHOLE
    rows, columns = (slice(0, size) for size in volume.shape[1:]) if whole else _window(mask)
    layers = range(len(volume)) if whole else np.flatnonzero(mask.any(axis=(1, 2)))
    near = volume[centre[0], rows, columns]
    low, high = np.percentile(near, [5, 95])
    site = Site(image=near, mask=near, donor=near, sigma=noise_sigma(near), spread=float(max(high - low, 8.0)))
    result = volume.copy()
    for layer in layers:
        from_layer = int(np.clip(layer + donor[0] - centre[0], 0, len(volume) - 1))
        shifted = np.roll(volume[from_layer], (centre[1] - donor[1], centre[2] - donor[2]), axis=(0, 1))
        part = replace(
            site,
            image=volume[layer, rows, columns],
            mask=mask[layer, rows, columns],
            donor=shifted[rows, columns],
            layer=int(layer),
        )
        result[layer, rows, columns] = forge.apply(family, part, np.random.default_rng(seed), cut=False).image
    meant = np.ones(volume.shape, bool) if whole else mask > 0
    block = (slice(int(layers[0]), int(layers[-1]) + 1), rows, columns)
    changed = np.zeros_like(volume)
    changed[block] = change_mask(volume[block], result[block], meant[block], site.sigma)
    seen = is_visible(changed[block], (meant if whole else mask > 0.5)[block])
    return ForgedVolume(image=result, mask=changed, family=family, visible=seen)


def _window(mask: Array) -> tuple[slice, slice]:
    """The rows and columns of the mask in all slices, with a margin."""
    area: list[slice] = []
    for axes in ((0, 2), (0, 1)):
        hit: npt.NDArray[np.intp] = np.flatnonzero(mask.any(axis=axes))
        area.append(slice(max(0, int(hit[0]) - _MARGIN_PX), int(hit[-1]) + 1 + _MARGIN_PX))
    return area[0], area[1]
