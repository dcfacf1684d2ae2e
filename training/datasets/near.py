"""Near-duplicates: one image under two names, encoded, resized, windowed or trimmed anew.

A perceptual hash finds candidates (256 signs of the lowest cosine frequencies of a 64 x 64 thumbnail) and a
correlation of high-passed thumbnails confirms them. Re-encoding, resizing, noise and a trim of a few pixels stay within
both limits, other patients' images beyond: tests/unit/test_training_datasets_manifest.py holds both against images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from training.datasets.sample import Array

MAXIMUM_BITS = 32
MINIMUM_CORRELATION = 0.85
_SIDE_PX = 64
_FREQUENCIES = 16
# Small enough for a processor's cache.
_ROWS, _COLUMNS = 128, 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two near-duplicates by their numbers, with the bits in which their hashes differ and their correlation."""

    first: int
    second: int
    bits: int
    correlation: float


def perceptual_hash(values: Array) -> str:
    """256 bits in hexadecimal that change little when an image (H, W) is encoded, resized or windowed anew."""
    spectrum = dctn(_thumbnail(values), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES].ravel()
    signs = spectrum > np.median(spectrum[1:])
    signs[0] = False
    return np.packbits(signs).tobytes().hex()


def fingerprint(values: Array) -> Array:
    """A high-passed thumbnail of unit length: the scalar product of two is their correlation; zero for a blank one."""
    small = _thumbnail(values)
    fine = small - gaussian_filter(small, 3.0)
    fine -= fine.mean()
    length = float(np.linalg.norm(fine))
    return (fine / length if length > 1e-6 else np.zeros_like(fine)).ravel()


def _thumbnail(values: Array) -> Array:
    low, high = np.percentile(values, [1, 99])
    clipped = np.clip(values, low, high).astype(np.float32)
    kind = Image.Resampling.BOX if min(values.shape) > _SIDE_PX else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(clipped).resize((_SIDE_PX, _SIDE_PX), kind))


def near_pairs(
    hashes: Sequence[str],
    groups: Sequence[str],
    open_fingerprint: Callable[[int], Array],
    alone: Sequence[bool] = (),
) -> Iterator[Pair]:
    """Yields the near-duplicates that belong to different groups, and those of one group that are both ``alone``.

    Pixels are read of candidates only. Every pair's hashes are compared: 300,000 images take minutes, which is less
    than reading them.
    """
    if not hashes:
        return
    bits = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint64).reshape(len(hashes), -1)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    single = np.asarray(alone, bool) if alone else np.zeros(len(hashes), bool)
    kept: dict[int, Array] = {}

    def opened(number: int) -> Array:
        if number not in kept:
            kept[number] = open_fingerprint(number)
        return kept[number]

    for first, second, distance in _candidates(bits, group, single):
        correlation = float(opened(first) @ opened(second))
        if correlation >= MINIMUM_CORRELATION:
            yield Pair(first=first, second=second, bits=distance, correlation=correlation)


def _candidates(
    bits: npt.NDArray[np.uint64], group: npt.NDArray[np.int64], single: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, int, int]]:
    for top in range(0, len(bits), _ROWS):
        rows = slice(top, top + _ROWS)
        for left in range(top, len(bits), _COLUMNS):
            columns = slice(left, left + _COLUMNS)
            # One byte is enough: the first of the 256 bits is never set.
            distance = np.zeros((len(bits[rows]), len(bits[columns])), np.uint8)
            for word in range(bits.shape[1]):
                distance += np.bitwise_count(bits[rows, None, word] ^ bits[None, columns, word])
            asked = (group[rows, None] != group[None, columns]) | (single[rows, None] & single[None, columns])
            for row, column in np.argwhere((distance <= MAXIMUM_BITS) & asked):
                if left + column > top + row:
                    yield top + int(row), left + int(column), int(distance[row, column])
