"""G9, removal without a generator: the region is filled in from its rim and given noise again.

Source: classical in-painting: Telea 2004 (weights by direction, distance and level, from the rim inwards; here a
ring of one pixel at a time instead of a heap), harmonic and biharmonic diffusion, the latter in tension (the linear
part of the methods after Navier and Stokes, Bertalmio et al. 2001), and normalised convolution (σ 0.35 to 0.8 of the
region's depth). Ranges: noise 0.5 to 1.1 of the image's own level, or the residual of another part of the image × 0.7
to 1.1.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, zoom
from scipy.sparse import diags_array, eye_array, kron
from scipy.sparse.linalg import spsolve

from training.forge.poisson import solve
from training.forge.resampling import round_trip
from training.forge.site import Array, Site, blend, coloured_noise, highpass

Inside = npt.NDArray[np.bool_]
WAYS = ("harmonic", "biharmonic", "telea", "convolution")
_REACH_PX = 4
_MOST_PX = 900
_TENSION = 0.2


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    inside = site.mask > 0.05
    if not inside.any():
        return site.image.copy()
    patch = filled(site.image, inside, str(rng.choice(WAYS)), rng)
    # No fill is brighter or darker than what surrounds it: biharmonic ones run away behind an edge.
    rim = site.image[binary_dilation(inside, iterations=4) & ~inside]
    patch = np.clip(patch, *np.percentile(rim, [5, 95]))
    if rng.random() < 0.5:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.5, 1.1), rng, site.layer)
    else:
        patch = patch + highpass(site.donor) * rng.uniform(0.7, 1.1)
    return blend(site.image, patch.astype(np.float32), site.mask)


def filled(image: Array, inside: Inside, way: str, rng: np.random.Generator) -> Array:
    """The image (H, W) with the mask filled in one of ``WAYS``."""
    if way == "harmonic":
        return solve(image, np.zeros_like(image), inside, mixed=False)
    if way == "biharmonic":
        return biharmonic(gaussian_filter(image, 0.7), inside)
    if way == "telea":
        return telea(image, inside)
    depth_px = float(distance_transform_edt(inside).max())
    width_px = max(3.0, rng.uniform(0.35, 0.8) * depth_px)
    known = (~inside).astype(np.float32)
    total = gaussian_filter(image * known, width_px)
    return total / np.maximum(gaussian_filter(known, width_px), 1e-6)


def biharmonic(image: Array, inside: Inside) -> Array:
    """The image with the mask filled so that its Laplacian is harmonic; no further than its surroundings' values.

    In tension: a slope at the rim is carried on for about 2 px; without, it would run away behind every edge.
    More than 900 px are filled on a grid of half the resolution, as smooth as the result is.
    """
    if inside.sum() > _MOST_PX:
        small = biharmonic(round_trip(image, 0.5, 1, 1)[::2, ::2].copy(), inside[::2, ::2])
        scale = [size / part for size, part in zip(image.shape, small.shape, strict=True)]
        return np.where(inside, zoom(small, scale, order=1, mode="nearest", grid_mode=True), image).astype(np.float32)
    lines = [diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(size, size)) for size in image.shape]
    laplace = kron(lines[0], eye_array(image.shape[1])) + kron(eye_array(image.shape[0]), lines[1])
    laplace = laplace.tocsr()
    unknown = np.flatnonzero(inside)
    rows = (laplace[unknown] @ laplace - _TENSION * laplace[unknown]).tocsc()
    known = np.where(inside, 0, image).ravel().astype(np.float64)
    result = image.copy()
    result.ravel()[unknown] = spsolve(rows[:, unknown], -(rows @ known))
    rim = image[~inside]
    return np.clip(result, rim.min(), rim.max()).astype(np.float32)


def telea(image: Array, inside: Inside) -> Array:
    """The image with the mask filled from the rim inwards, a ring at a time."""
    depth = distance_transform_edt(inside)
    slope_y, slope_x = np.gradient(depth)
    steps = range(-_REACH_PX, _REACH_PX + 1)
    offsets = np.array([(dy, dx) for dy in steps for dx in steps if 0 < dy * dy + dx * dx <= _REACH_PX**2])
    result, known = np.pad(np.where(inside, 0, image), _REACH_PX), np.pad(~inside, _REACH_PX)
    span = np.hypot(*offsets.T)
    rings = np.ceil(depth).astype(int)
    for ring in range(1, int(rings.max()) + 1):
        rows, columns = np.nonzero(rings == ring)
        near = (rows[:, None] + _REACH_PX + offsets[:, 0], columns[:, None] + _REACH_PX + offsets[:, 1])
        along = slope_y[rows, columns][:, None] * offsets[:, 0] + slope_x[rows, columns][:, None] * offsets[:, 1]
        weight = (np.abs(along) / span + 0.05) / span**2 * known[near]
        total = weight.sum(axis=1)
        values = (weight * result[near]).sum(axis=1) / np.maximum(total, 1e-9)
        result[rows + _REACH_PX, columns + _REACH_PX] = values
        known[rows + _REACH_PX, columns + _REACH_PX] = total > 0
    height, width = image.shape
    return result[_REACH_PX : _REACH_PX + height, _REACH_PX : _REACH_PX + width].astype(np.float32)
