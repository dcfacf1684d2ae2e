"""Where an edit goes: the image, a soft mask, a donor from the same image, and its noise level."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes, gaussian_filter, label, uniform_filter, zoom

Array = npt.NDArray[np.float32]

_CT_LOW, _CT_HIGH = -1024.0, 3071.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place to edit.

    ``image``: (H, W) float32, modality units. ``mask``: (H, W) float32 in 0..1, soft, zero along the
    border. ``donor``: (H, W) float32, another part of the same image. ``sigma``: noise level in the
    image's units. ``spread``: the range of values around the edit, in the same units. ``layer``: the slice's
    number in a volume; noise differs from layer to layer, everything else that is drawn is the same.
    """

    image: Array
    mask: Array
    donor: Array
    sigma: float
    spread: float
    layer: int = 0

    def near(self, margin_px: int = 24) -> tuple["Site", tuple[slice, slice]]:
        """The site cut to the mask and a margin around it, and where that is in this one.

        Raises: ValueError where the mask is empty.
        """
        area = []
        for axis in (1, 0):
            hit = np.flatnonzero(self.mask.any(axis=axis))
            if hit.size == 0:
                raise ValueError("the mask is empty: there is nothing to edit")
            area.append(slice(max(0, int(hit[0]) - margin_px), int(hit[-1]) + 1 + margin_px))
        rows, columns = area
        parts = {name: getattr(self, name)[rows, columns] for name in ("image", "mask", "donor")}
        return replace(self, **parts), (rows, columns)


def highpass(image: Array) -> Array:
    """The image minus its 3×3 mean."""
    return image - uniform_filter(image, 3, mode="reflect")


def noise_sigma(image: Array) -> float:
    """A robust noise level (median absolute residual); never zero."""
    residual = highpass(image)
    return float(max(1.4826 * np.median(np.abs(residual)) * 1.06, 0.3))


def storage_range(image: Array) -> tuple[float, float]:
    """The values (low, high) that the image's storage can hold, guessed from those that it holds.

    Images without negative values: 0 to the next 2^n - 1, at least 255. Others: Hounsfield units of 12 bits,
    -1024 to 3071, or further where the image goes further (padding, metal).
    """
    low, high = float(image.min()), float(image.max())
    if low >= 0:
        return 0.0, float(2 ** max(8, int(np.ceil(np.log2(high + 1)))) - 1)
    return min(low, _CT_LOW), max(high, _CT_HIGH)


def anatomy(image: Array, *, hounsfield: bool) -> npt.NDArray[np.bool_]:
    """Where the patient is: (H, W) bool; nobody forges the air around a body.

    CT: the largest part above -500 HU after smoothing (σ 2 px), lungs and other holes filled in. Radiographs:
    what is brighter than an eighth of the image's range (percentiles 1 to 99; σ 4 px), so neither the black
    of collimation nor direct exposure.
    """
    if hounsfield:
        parts, count = label(gaussian_filter(image, 2.0) > -500)
        if count == 0:
            return np.zeros(image.shape, bool)
        return binary_fill_holes(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]))
    low, high = np.percentile(image, [1, 99])
    return gaussian_filter(image, 4.0) > low + (high - low) / 8


def alike(image: Array, centre: tuple[int, int], others: npt.NDArray[np.intp]) -> tuple[int, int]:
    """Which of some places (N, 2) looks most like the centre: nobody pastes bone into a lung.

    Compared are the mean and the spread (both in the image's units) of 25×25 px.
    """

    def looks(place: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        rows, columns = (slice(max(0, int(value) - 12), int(value) + 13) for value in place)
        return np.array([image[rows, columns].mean(), image[rows, columns].std()])

    own = looks(np.asarray(centre))
    nearest = min(range(len(others)), key=lambda number: float(np.abs(looks(others[number]) - own).sum()))
    return int(others[nearest][0]), int(others[nearest][1])


def soft_mask(shape: tuple[int, int], centre: tuple[float, float], radius_px: float, rng: np.random.Generator) -> Array:
    """An irregular ellipse with a soft edge, of the area of a circle of ``radius_px`` or a little less.

    After the masks of self-blended images (Shiohara and Yamasaki 2022: elastic α 50 σ 7, eroded and blurred by
    Gaussians), scaled to lesions of 8 to 30 mm. Elongation 1 to 1.6; boundary waves up to 20 % and, for half of
    them, an elastic displacement of up to 12 % of the radius; edge 0.7 to 5 px, for half of them by blurring
    the eroded shape. Zero along the border.
    """
    reach = int(np.ceil(1.8 * radius_px)) + 8
    rows, columns = (
        np.arange(max(1, int(place) - reach), min(size - 1, int(place) + reach + 1), dtype=np.float32)
        for place, size in zip(centre, shape, strict=True)
    )
    dy, dx = rows[:, None] - centre[0], columns[None, :] - centre[1]
    if rng.random() < 0.5:
        dy, dx = (part + _elastic((rows.size, columns.size), 0.12 * radius_px, rng) for part in (dy, dx))
    turn, elongation = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6) ** 0.5
    along = (dx * np.cos(turn) + dy * np.sin(turn)) / elongation
    across = (-dx * np.sin(turn) + dy * np.cos(turn)) * elongation
    angle = np.arctan2(across, along)
    wobble = sum(rng.uniform(0, 0.2 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi)) for order in (2, 3, 5))
    distance = np.hypot(along, across) / (1 + wobble)
    edge_px = rng.uniform(0.7, min(5.0, radius_px / 2))
    if rng.random() < 0.5:
        local = gaussian_filter((distance < radius_px - edge_px / 2).astype(np.float32), max(0.6, edge_px / 2))
    else:
        local = 1 / (1 + np.exp(np.clip((distance - radius_px) / (edge_px / 2), -30, 30)))
    local[local < 0.01] = 0
    mask = np.zeros(shape, np.float32)
    mask[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1] = local
    return mask


def _elastic(shape: tuple[int, int], amount_px: float, rng: np.random.Generator) -> Array:
    """A smooth random field (H, W) of standard deviation near ``amount_px``, correlated over about 8 px."""
    coarse = rng.standard_normal([size // 8 + 2 for size in shape])
    field = zoom(coarse, [size / part for size, part in zip(shape, coarse.shape, strict=True)], order=3)
    return (field * amount_px).astype(np.float32)


def feathered(mask: Array, feather_px: float) -> Array:
    """The mask with an edge of ``feather_px`` that falls off inwards; nothing outside it is touched."""
    inner = gaussian_filter((mask > 0.5).astype(np.float32), feather_px / 2.5)
    return (np.clip(2 * inner - 1, 0, 1) * (mask > 0)).astype(np.float32)


def blend(image: Array, patch: Array, mask: Array) -> Array:
    """The patch over the image through the mask."""
    return (image + mask * (patch - image)).astype(np.float32)


def standard_noise(shape: tuple[int, ...], rng: np.random.Generator, layer: int) -> Array:
    """White Gaussian noise of standard deviation 1; one draw from ``rng`` whatever the shape and the layer."""
    stream = np.random.default_rng((int(rng.integers(2**62)), layer))
    return stream.standard_normal(shape, dtype=np.float32)


def coloured_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator, layer: int = 0) -> Array:
    """Gaussian noise of standard deviation ``sigma``, correlated over 0..1.2 px as reconstruction kernels leave it."""
    noise = standard_noise(shape, rng, layer)
    width_px = rng.uniform(0, 1.2)
    if width_px > 0.25:
        noise = gaussian_filter(noise, width_px)
        noise /= max(float(noise.std()), 1e-6)
    return (noise * sigma).astype(np.float32)
