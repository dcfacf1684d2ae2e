"""Hand-made features of an image's residuals, window by window.

Source: rich models of noise residuals (Fridrich and Kodovsky, SRM, 2012): the KV kernel of 5×5, the second-order 3×3
kernel and second differences along rows and columns, quantised to five levels, co-occurrences of neighbours. Windows
of 32 px at a stride of 16; each is described by itself and by how it differs from the median window of its own image,
which is where a noise level or a correlation that doesn't belong shows.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve, uniform_filter

Array = npt.NDArray[np.float32]
BLOCK_PX = 16
_LEVELS = 5
_KERNELS: Sequence[Array] = (
    np.array(
        [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]], np.float32
    )
    / 12,
    np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float32) / 4,
    np.array([[1, -2, 1]], np.float32) / 2,
    np.array([[1], [-2], [1]], np.float32) / 2,
)
# Each pair of quantised neighbours and its mirror images (both turned round, both negated) are one bin.
_BIN = np.array(
    [
        min((a, b), (b, a), (_LEVELS - 1 - a, _LEVELS - 1 - b), (_LEVELS - 1 - b, _LEVELS - 1 - a))
        for a in range(_LEVELS)
        for b in range(_LEVELS)
    ]
)
_BINS, _INVERSE = np.unique(_BIN, axis=0, return_inverse=True)
_BIN_OF = _INVERSE.ravel()
_SMALL = 1e-3


def describe(image: Array) -> Array:
    """The windows of an image (H, W) float32: (rows, columns, F) float32, H and W at least 32.

    What is beyond the last whole block of 16 px is left out.
    """
    height, width = (size // BLOCK_PX * BLOCK_PX for size in image.shape)
    planes = [_residual_planes(image[:height, :width], kernel) for kernel in _KERNELS]
    own = np.concatenate([*planes, _level_planes(image[:height, :width])], axis=-1)
    lively = own[..., -1] > _SMALL
    middle = np.median(own[lively], axis=0) if lively.any() else np.zeros(own.shape[-1], np.float32)
    return np.concatenate([own, own - middle], axis=-1).astype(np.float32)


def _residual_planes(image: Array, kernel: Array) -> Array:
    """Logarithms of the variance, the tails and the co-occurrences of one residual, (rows, columns, F)."""
    residual = convolve(image, kernel, mode="reflect")
    some = np.abs(residual[::2, ::2])
    moving = some[some != 0]
    step = np.float32(np.median(moving)) if moving.size else np.float32(1.0)
    scaled = residual / step
    coded = (np.clip(np.rint(scaled), -2, 2) + 2).astype(np.uint8)
    square = np.clip(scaled, -20, 20) ** 2
    energy, fourth = _windows(_blocks(square)), _windows(_blocks(square**2))
    tails = np.log((fourth + _SMALL) / (energy + _SMALL) ** 2)
    parts = [np.log(energy + _SMALL)[..., None], tails[..., None]]
    parts += [_pairs(coded), _pairs(coded.T).transpose(1, 0, 2)]
    return np.concatenate(parts, axis=-1)


def _level_planes(image: Array) -> Array:
    """Logarithms of the local spread at two scales and the share of pixels that differ from their neighbour."""
    coarse = (image - uniform_filter(image, 9, mode="reflect")) ** 2
    scale = max(float(np.median(coarse[coarse > 0])) if (coarse > 0).any() else 1.0, 1e-6)
    spread = np.log(_windows(_blocks(np.minimum(coarse / scale, 400))) + _SMALL)
    moving = (np.diff(image, axis=1, prepend=image[:, :1]) != 0).astype(np.float32)
    return np.stack([spread, _windows(_blocks(moving))], axis=-1)


def _pairs(coded: npt.NDArray[np.uint8]) -> Array:
    """Logarithms of the shares of levels above one another, mirrored pairs together, (rows, columns, bins)."""
    rows, columns = (size // BLOCK_PX for size in coded.shape)
    bins = len(_BINS)
    number = np.empty(coded.shape, np.int64)
    number[:] = (np.arange(coded.shape[1]) // BLOCK_PX * bins)[None]
    number += (np.arange(coded.shape[0]) // BLOCK_PX * (columns * bins))[:, None]
    number[:-1] += _BIN_OF[coded[:-1] * np.uint8(_LEVELS) + coded[1:]]
    counts = np.bincount(number[:-1].ravel(), minlength=rows * columns * bins)
    shares = _windows(counts.reshape(rows, columns, bins).astype(np.float32) / BLOCK_PX**2)
    return np.log(shares + 0.004).astype(np.float32)


def _blocks(plane: Array) -> Array:
    """Means of blocks of 16 px."""
    rows, columns = (size // BLOCK_PX for size in plane.shape)
    return plane.reshape(rows, BLOCK_PX, columns, BLOCK_PX).mean(axis=(1, 3))


def _windows(blocks: Array) -> Array:
    """Means of two by two blocks (rows - 1, columns - 1, ...)."""
    return (blocks[:-1, :-1] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[1:, 1:]) / 4
