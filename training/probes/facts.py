"""What a probe may see of an image: facts that need no look at its content, or a picture too small for a trace."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from training.probes.pairs import Item

Array = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Facts = Callable[[Sequence[Item]], Values]
THUMBNAIL_PX = 32
_GRID_PX = 8


def header(items: Sequence[Item]) -> Values:
    """(N, F): shape, lowest and highest value, their distance, how many values, whole numbers or not, stored facts."""
    return np.hstack([np.array([_header(item.image) for item in items], np.float64), _stored(items)])


def packed_size(items: Sequence[Item]) -> Values:
    """(N, 2): bytes after a lossless codec (differences to the left neighbour, deflate), and for each pixel."""
    sizes = [_packed_bytes(item.image) for item in items]
    return np.array([[size, size / item.image.size] for size, item in zip(sizes, items, strict=True)], np.float64)


def metadata(items: Sequence[Item]) -> Values:
    """(N, F): the header and the packed size."""
    return np.hstack([header(items), packed_size(items)])


def _header(image: Array) -> list[float]:
    low, high = float(image.min()), float(image.max())
    whole = float(np.array_equal(image, np.rint(image)))
    return [*image.shape, low, high, high - low, float(np.unique(image).size), whole]


def _packed_bytes(image: Array) -> float:
    steps = np.diff(np.rint(image).astype(np.int32), axis=1, prepend=0).astype(np.int16)
    return float(len(zlib.compress(steps.tobytes(), 6)))


def _stored(items: Sequence[Item]) -> Values:
    """(N, F): numbers as they are, texts numbered in alphabetical order, NaN if missing."""
    columns = []
    for key in sorted({key for item in items for key in item.stored}):
        found = [item.stored.get(key) for item in items]
        texts = sorted({value for value in found if isinstance(value, str)})
        number = {text: float(at) for at, text in enumerate(texts)}
        columns.append(
            [np.nan if value is None else number[value] if isinstance(value, str) else float(value) for value in found]
        )
    return np.array(columns, np.float64).T if columns else np.zeros((len(items), 0))


def histogram(items: Sequence[Item]) -> Values:
    """(N, F): plateaus at the lowest and highest value, gaps, share of even values, roughness of the histogram."""
    return np.array([_histogram(item.image) for item in items], np.float64)


def _histogram(image: Array) -> list[float]:
    values = np.rint(image).astype(np.int64)
    counts = np.bincount((values - values.min()).ravel(), minlength=6).astype(np.float64)
    inner, total = counts[1:-1], counts.sum()
    return [
        counts[0] / total,
        counts[-1] / total,
        counts[1:3].sum() / total,
        counts[-3:-1].sum() / total,
        float((counts == 0).sum()),
        float((values % 2 == 0).mean()),
        float((values % 4 == 0).mean()),
        float(np.abs(np.diff(inner, 2)).sum() / max(inner.sum(), 1.0)),
    ]


def block_grid(items: Sequence[Item]) -> Values:
    """(N, 16): the 8×8 grid that JPEG leaves behind.

    Mean step between neighbours at each of 8 phases from the corner, columns and rows, in units of the mean step,
    less what repeats every 4 px: an up-sampling decoder leaves grids of 2 and 4 px, and those are honest traces.
    """
    result = []
    for item in items:
        phases = []
        for axis in (1, 0):
            step = np.abs(np.diff(item.image, axis=axis)).mean(axis=1 - axis)[_GRID_PX:-_GRID_PX]
            step = step[: step.size // _GRID_PX * _GRID_PX].reshape(-1, 2, _GRID_PX // 2).mean(axis=0)
            phases.append((step - step.mean(axis=0)).ravel() / max(float(step.mean()), 1e-9))
        result.append(np.concatenate(phases))
    return np.array(result, np.float64)


def thumbnail(items: Sequence[Item]) -> Values:
    """(N, 1024): the image at 32×32 px, bilinear with antialiasing, in units of its own spread about its mean."""
    result = []
    for item in items:
        pixels = torch.from_numpy(np.ascontiguousarray(item.image))[None, None]
        small = interpolate(pixels, size=(THUMBNAIL_PX,) * 2, mode="bilinear", antialias=True)[0, 0].numpy()
        result.append((small - small.mean()) / max(float(small.std()), 1e-6))
    return np.array(result, np.float64).reshape(len(items), -1)
