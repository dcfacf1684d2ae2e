"""Where an edit goes: the image, a soft mask, a donor from the same image, and its noise level."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, uniform_filter

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place to edit.

    ``image``: (H, W) float32, modality units. ``mask``: (H, W) float32 in 0..1, soft, zero along the
    border. ``donor``: (H, W) float32, another part of the same image. ``sigma``: noise level in the
    image's units. ``spread``: the range of values around the edit, in the same units.
    """

    image: Array
    mask: Array
    donor: Array
    sigma: float
    spread: float


def highpass(image: Array) -> Array:
    """The image minus its 3×3 mean."""
    return image - uniform_filter(image, 3, mode="reflect")


def noise_sigma(image: Array) -> float:
    """A robust noise level (median absolute residual); never zero."""
    residual = highpass(image)
    return float(max(1.4826 * np.median(np.abs(residual)) * 1.06, 0.3))


def soft_mask(shape: tuple[int, int], centre: tuple[float, float], radius_px: float, rng: np.random.Generator) -> Array:
    """An irregular ellipse with a soft edge.

    Elongation 0.6..1.6, boundary wobble up to 20 %, edge 0.7..5 px, after the masks of self-blended
    images (Shiohara and Yamasaki 2022), scaled to lesions of 8 to 30 mm.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    dy, dx = rows - centre[0], columns - centre[1]
    angle = np.arctan2(dy, dx)
    turn = rng.uniform(0, np.pi)
    elongation = rng.uniform(0.6, 1.6)
    along = dx * np.cos(turn) + dy * np.sin(turn)
    across = (-dx * np.sin(turn) + dy * np.cos(turn)) * elongation
    wobble = sum(rng.uniform(0, 0.2 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi)) for order in (2, 3, 5))
    distance = np.hypot(along, across) / (1 + wobble)
    edge_px = rng.uniform(0.7, min(5.0, radius_px / 2))
    mask = 1 / (1 + np.exp(np.clip((distance - radius_px) / (edge_px / 2), -30, 30)))
    mask[mask < 0.01] = 0
    mask[[0, -1], :] = 0
    mask[:, [0, -1]] = 0
    return mask.astype(np.float32)


def blend(image: Array, patch: Array, mask: Array) -> Array:
    """The patch over the image through the mask."""
    return (image + mask * (patch - image)).astype(np.float32)


def coloured_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> Array:
    """Gaussian noise of standard deviation ``sigma``, correlated over 0..1.2 px as reconstruction kernels leave it."""
    noise = rng.standard_normal(shape).astype(np.float32)
    width_px = rng.uniform(0, 1.2)
    if width_px > 0.25:
        noise = gaussian_filter(noise, width_px)
        noise /= max(float(noise.std()), 1e-6)
    return (noise * sigma).astype(np.float32)
