"""Patches that the generators learn from: normalised, with a hole, and how dense the hole's middle is.

The same code draws squares from images (H, W) and cubes from volumes (D, H, W). There are no nodule labels to
centre on, so of a few random places one patch in two takes the one whose middle stands out most against its rim
(in a CT slice a nodule, a vessel or a bone end; the nodule-centred head of CT-GAN), the other any place at all (the
healthy-centred head); the network is told which by the contrast. Flips and right angles as in CT-GAN; one in four
is taken at half the resolution, as large edits are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.forge.learned import Window
from training.forge.site import Array, noise_sigma

_CANDIDATES = 6
_EVEN_CHANCE = 0.5
_HALVED_CHANCE = 0.25
_WIDE_WINDOW_CHANCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """``values`` (N, 1, *S) float32 normalised, ``hole`` (N, 1, *S) 0 or 1, ``contrast`` (N,) normalised units."""

    values: Array
    hole: Array
    contrast: Array


class PatchSource:
    """Draws patches from training images; every random choice comes from the generator that is given."""

    def __init__(self, images: Sequence[Array], patients: Sequence[str], *, patch_px: int, hounsfield: bool) -> None:
        self._images = [image for image in images if min(image.shape) >= patch_px]
        if not self._images:
            raise ValueError(
                f"no training image is at least {patch_px} px wide: nothing for the generators to learn from"
            )
        self._patch_px = patch_px
        self._hounsfield = hounsfield
        kept = [patient for image, patient in zip(images, patients, strict=True) if min(image.shape) >= patch_px]
        counts = {patient: kept.count(patient) for patient in set(kept)}
        weights = np.array([counts[patient] ** -0.5 for patient in kept])
        self._weights = weights / weights.sum()
        self._wide = [Window.of(image[..., ::4, ::4], noise_sigma_of(image)) for image in self._images]
        self._brightest = [float(np.percentile(image[..., ::4, ::4], 98)) for image in self._images]

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes."""
        return self._images[0].ndim

    def draw(self, count: int, rng: np.random.Generator, *, wide: bool = False) -> Patches:
        """``count`` patches; with ``wide`` half of them are normalised by the whole image's range."""
        drawn = [self._one(rng, wide=wide) for _ in range(count)]
        values, holes, contrasts = zip(*drawn, strict=True)
        return Patches(values=np.stack(values)[:, None], hole=np.stack(holes)[:, None], contrast=np.float32(contrasts))

    def contrasts(self, rng: np.random.Generator, count: int = 600) -> dict[str, tuple[float, float]]:
        """What to ask an in-painter for: "inject" the 80th to 99th percentile of patches, "remove" the 25th to 60th."""
        drawn = [self._one(rng, wide=False)[2] for _ in range(count)]
        low, middle, high, highest = (round(float(value), 4) for value in np.percentile(drawn, [25, 60, 80, 99]))
        return {"inject": (high, highest), "remove": (low, middle)}

    def _one(self, rng: np.random.Generator, *, wide: bool) -> tuple[Array, Array, float]:
        number = int(rng.choice(len(self._images), p=self._weights))
        patch = _turned(self._cut(number, rng), rng)
        distance = _distance(patch.shape, rng)
        hole = distance <= 1
        if wide and rng.random() < _WIDE_WINDOW_CHANCE:
            window = self._wide[number]
        else:
            window = Window.of(patch[~hole], noise_sigma_of(patch))
        values = window.normalised(patch)
        contrast = values[distance <= 0.5].mean() - values[(distance > 1) & (distance <= 1.4)].mean()
        return values, hole.astype(np.float32), float(contrast)

    def _cut(self, number: int, rng: np.random.Generator) -> Array:
        image = self._images[number]
        halved = rng.random() < _HALVED_CHANCE and min(image.shape) >= 2 * self._patch_px
        side = self._patch_px * (2 if halved else 1)
        candidates = [_window(image, side, rng) for _ in range(_CANDIDATES)]
        inhabited = [patch for patch in candidates if self._inhabited(patch, number)] or candidates
        chosen = inhabited[0] if rng.random() < _EVEN_CHANCE else max(inhabited, key=_prominence)
        return _halved(chosen) if halved else chosen

    def _inhabited(self, patch: Array, number: int) -> bool:
        """Inside the body; a patch of nothing but air or collimation teaches nothing."""
        mean = float(patch[..., ::4, ::4].mean())
        return -930 < mean < 400 if self._hounsfield else mean > 0.12 * self._brightest[number]


def noise_sigma_of(values: Array) -> float:
    """The noise level of an image, or of a volume by its middle plane."""
    return noise_sigma(values if values.ndim == 2 else values[len(values) // 2])


def _window(image: Array, side: int, rng: np.random.Generator) -> Array:
    corner = [int(rng.integers(size - side + 1)) for size in image.shape]
    return image[tuple(slice(start, start + side) for start in corner)]


def _prominence(patch: Array) -> float:
    side = patch.shape[-1]
    middle = patch[(slice(side * 3 // 8, side * 5 // 8),) * patch.ndim]
    around = patch[(slice(side // 5, side - side // 5),) * patch.ndim]
    return float(middle.mean() - around.mean()) / max(float(around.std()), 1e-3)


def _halved(patch: Array) -> Array:
    shape = [size for length in patch.shape for size in (length // 2, 2)]
    return patch.reshape(shape).mean(axis=tuple(range(1, 2 * patch.ndim, 2))).astype(np.float32)


def _turned(patch: Array, rng: np.random.Generator) -> Array:
    for axis in range(patch.ndim):
        if rng.random() < 0.5:
            patch = np.flip(patch, axis)
    return np.ascontiguousarray(np.rot90(patch, int(rng.integers(4)), axes=(-2, -1)), dtype=np.float32)


def _distance(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How far each pixel is from the hole's middle, 1 at its edge: a box (as CT-GAN) or an ellipse.

    Half-axes of 15 to 32 % of the side (the inner 20 of 32 voxels are 31 %), moved by up to 8 % (±4 of 48).
    """
    parts = []
    for axis, size in enumerate(shape):
        middle = (size - 1) / 2 + rng.uniform(-0.08, 0.08) * size
        part = np.abs(np.arange(size) - middle) / (rng.uniform(0.15, 0.32) * size)
        parts.append(part.reshape([-1 if other == axis else 1 for other in range(len(shape))]))
    if rng.random() < 0.5:
        return np.maximum.reduce(np.broadcast_arrays(*parts))
    return np.sqrt(sum(part**2 for part in parts))
