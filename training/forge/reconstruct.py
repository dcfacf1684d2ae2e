"""G2, reconstruction by an autoencoder: linear, fitted to the training patients' own patches.

Source: reconstruction pairs for generated-image detection (aligned pairs, B-Free, Guillaro et al. 2025), with
principal components of 16×16 patches in place of a deep encoder. The code keeps 20 to 64 of 256 components;
patches overlap by half and are cross-faded (triangular weights), so that no grid of patches shows.
In the mask or on the whole image.
"""

from dataclasses import dataclass

import numpy as np

from training.forge.site import Array, Site, blend, coloured_noise

PATCH_PX = 16
_STEP_PX = 8


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


def reconstructed(image: Array, codec: Codec, kept: int) -> Array:
    """The image (H, W) through ``kept`` components, overlapping patches cross-faded."""
    height, width = image.shape
    pad = [(PATCH_PX, PATCH_PX + (-size) % _STEP_PX) for size in (height, width)]
    padded = np.pad(image, pad, mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(padded, (PATCH_PX, PATCH_PX))[::_STEP_PX, ::_STEP_PX]
    patches = view.reshape(-1, PATCH_PX * PATCH_PX)
    mean = patches.mean(axis=1, keepdims=True)
    basis = codec.components[:kept]
    # Triangular weights that add up to 1 where patches overlap by half.
    ramp = (np.minimum(np.arange(PATCH_PX), np.arange(PATCH_PX)[::-1]).astype(np.float32) + 0.5) / _STEP_PX
    fade = np.outer(ramp, ramp).ravel()
    code = patches @ basis.T - mean * basis.sum(axis=1)
    decoded = (code @ (basis * fade) + mean * fade).reshape(*view.shape)
    total = np.zeros_like(padded)
    for row in range(PATCH_PX // _STEP_PX):
        for column in range(PATCH_PX // _STEP_PX):
            part = decoded[row::2, column::2]
            block = part.transpose(0, 2, 1, 3).reshape(part.shape[0] * PATCH_PX, part.shape[1] * PATCH_PX)
            top, left = row * _STEP_PX, column * _STEP_PX
            total[top : top + block.shape[0], left : left + block.shape[1]] += block
    return total[PATCH_PX : PATCH_PX + height, PATCH_PX : PATCH_PX + width].astype(np.float32)


def apply(site: Site, rng: np.random.Generator, codec: Codec) -> Array:
    """Returns the image (H, W) float32, reconstructed where the mask is."""
    patch = reconstructed(site.image, codec, int(rng.integers(20, 65)))
    if rng.random() < 0.6:
        patch = patch + coloured_noise(patch.shape, site.sigma * rng.uniform(0.3, 1.0), rng, site.layer)
    return blend(site.image, patch, site.mask)
