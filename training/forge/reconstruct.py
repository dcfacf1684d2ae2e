"""G2, reconstruction by an autoencoder: linear, fitted to the training patients' own patches.

Source: reconstruction pairs for generated-image detection (aligned pairs, B-Free, Guillaro et al. 2025), with
principal components of 16×16 patches in place of a deep encoder. The code keeps 20 to 64 of 256 components;
patches overlap by 7 to 11 px and are cross-faded (Hann weights). Their grid begins anywhere and its step is drawn for
each axis (5, 6, 7 or 9 px), so that it is no sign of a fake: JPEG leaves a grid of 8 px in honest images.
In the mask or on the whole image.
"""

from dataclasses import dataclass

import numpy as np

from training.forge.site import Array, Site, blend, coloured_noise

PATCH_PX = 16
_STEPS_PX = (5, 6, 7, 9)
_FADE = (np.sin(np.pi * (np.arange(PATCH_PX) + 0.5) / PATCH_PX) ** 2).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """The fitted components (K, 256), most important first."""

    components: Array


def fit(images: list[Array], rng: np.random.Generator, *, count: int = 6000, components: int = 64) -> Codec:
    """Fits the components to random patches of the training images (each (H, W) float32)."""
    patches = np.empty((count, PATCH_PX * PATCH_PX), np.float32)
    for index in range(count):
        image = images[rng.integers(len(images))]
        top, left = (int(rng.integers(size - PATCH_PX)) for size in image.shape)
        patches[index] = image[top : top + PATCH_PX, left : left + PATCH_PX].ravel()
    patches -= patches.mean(axis=1, keepdims=True)
    scale = np.maximum(patches.std(axis=1, keepdims=True), 1.0)
    _, vectors = np.linalg.eigh(np.cov((patches / scale).T))
    return Codec(components=vectors.T[::-1][:components].astype(np.float32))


def reconstructed(
    image: Array, codec: Codec, kept: int, *, steps: tuple[int, int] = (8, 8), phase: tuple[int, int] = (0, 0)
) -> Array:
    """The image (H, W) through ``kept`` components, overlapping patches cross-faded.

    ``steps``: from patch to patch, rows and columns, 16 px at most; ``phase``: how many px the grid begins before the
    first row and column, less than the step.
    """
    pad = [
        (PATCH_PX + start, PATCH_PX + (-size - start - PATCH_PX) % step)
        for size, step, start in zip(image.shape, steps, phase, strict=True)
    ]
    padded = np.pad(image, pad, mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(padded, (PATCH_PX, PATCH_PX))[:: steps[0], :: steps[1]]
    patches = view.reshape(-1, PATCH_PX * PATCH_PX)
    mean = patches.mean(axis=1, keepdims=True)
    basis = codec.components[:kept]
    fade = np.outer(_FADE, _FADE).ravel()
    code = patches @ basis.T - mean * basis.sum(axis=1)
    total = _overlapped((code @ (basis * fade) + mean * fade).reshape(*view.shape), steps)
    for axis, step in enumerate(steps):
        ones = np.broadcast_to(_FADE, (view.shape[axis], PATCH_PX))
        weight = _overlapped(ones[:, None, :, None], (step, PATCH_PX))[:, 0]
        total /= np.expand_dims(np.maximum(weight, 1e-6), 1 - axis)
    return total[tuple(slice(before, before + size) for (before, _), size in zip(pad, image.shape, strict=True))]


def _overlapped(patches: Array, steps: tuple[int, int]) -> Array:
    """The sum (H, W) of patches (R, C, h, w) that lie ``steps`` apart; those that don't touch are added at once."""
    size = patches.shape[2:]
    apart = [-(-side // step) for side, step in zip(size, steps, strict=True)]
    period = [count * step for count, step in zip(apart, steps, strict=True)]
    ends = [(count - 1) * step + side for count, step, side in zip(patches.shape[:2], steps, size, strict=True)]
    total = np.zeros([end + length for end, length in zip(ends, period, strict=True)], np.float32)
    for row in range(apart[0]):
        for column in range(apart[1]):
            part = patches[row :: apart[0], column :: apart[1]]
            rows, columns = part.shape[0] * period[0], part.shape[1] * period[1]
            area = total[row * steps[0] :, column * steps[1] :][:rows, :columns]
            area.reshape(part.shape[0], period[0], part.shape[1], period[1])[:, : size[0], :, : size[1]] += (
                part.transpose(0, 2, 1, 3)
            )
    return total[: ends[0], : ends[1]]


def apply(site: Site, rng: np.random.Generator, codec: Codec) -> Array:
    """Returns the image (H, W) float32, reconstructed where the mask is."""
    steps = int(rng.choice(_STEPS_PX)), int(rng.choice(_STEPS_PX))
    phase = int(rng.integers(steps[0])), int(rng.integers(steps[1]))
    patch = reconstructed(site.image, codec, int(rng.integers(20, 65)), steps=steps, phase=phase)
    if rng.random() < 0.6:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.3, 1.0), rng, site.layer)
    return blend(site.image, patch, site.mask)
