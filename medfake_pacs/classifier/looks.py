"""What a radiograph looks like from afar: features of a coarse picture, which no local edit or codec moves much.

Everything is taken from the frame shrunk to 64×64 or less, so that traces of editing, noise and compression, which the
model is there to judge, don't decide whether it may. Gradient orientations are those of Dalal and Triggs 2005
(histograms of oriented gradients), signed, on a 6×6 grid; the energies of octaves are those of a Laplacian
pyramid (Burt and Adelson 1983).
"""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

Array = npt.NDArray[np.float32]
_SIDE_PX = 128
_SHAPE_PX = 48
_CELLS = 6
_ORIENTATIONS = 6
_GREYS_PX = 64
_LEVELS = 16
_BRIGHTNESS_PX = 12
_OCTAVES = 4


def looks(frame: Array) -> dict[str, Array]:
    """The blocks of features of a frame (H, W), any units; each (D,) float32.

    ``shapes`` (216): where edges of which direction are. ``brightness`` (144): a 12×12 thumbnail without its mean.
    ``greys`` (16): the square roots of the histogram. ``scales`` (4): the logarithm of the energy in four octaves.
    The frame is stretched to a square, and its 1st and 99th percentile become 0 and 1.
    """
    small = shrunk(frame, _SIDE_PX)
    shapes = _scaled(shrunk(small, _SHAPE_PX))
    thumbnail = shrunk(shapes, _BRIGHTNESS_PX)
    greys = _scaled(shrunk(small, _GREYS_PX))
    counts, _ = np.histogram(greys, bins=_LEVELS, range=(0, 1))
    return {
        "shapes": orientations(shapes),
        "brightness": (thumbnail - thumbnail.mean()).ravel(),
        "greys": np.sqrt(counts / _GREYS_PX**2).astype(np.float32),
        "scales": octave_energies(greys),
    }


def shrunk(frame: Array, side_px: int) -> Array:
    """The frame (H, W) stretched to a square of ``side_px``, each pixel the mean of what it covers."""
    method = Image.Resampling.BOX if min(frame.shape) >= side_px else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.ascontiguousarray(frame, np.float32))
    return np.asarray(picture.resize((side_px, side_px), method), np.float32)


def orientations(picture: Array) -> Array:
    """Histograms of gradient directions of a square picture, weighted by strength, normalised over 3×3 cells."""
    down, right = np.gradient(picture)
    strength = np.hypot(right, down)
    place = (np.arctan2(down, right) + np.pi) / (2 * np.pi) * _ORIENTATIONS
    lower = np.floor(place).astype(int)
    share = place - lower
    cell = np.arange(len(picture)) * _CELLS // len(picture)
    first = (cell[:, None] * _CELLS + cell[None, :]) * _ORIENTATIONS
    size = _CELLS * _CELLS * _ORIENTATIONS
    counts = sum(
        np.bincount(
            (first + (lower + step) % _ORIENTATIONS).ravel(), weights=(strength * weight).ravel(), minlength=size
        )
        for step, weight in ((0, 1 - share), (1, share))
    )
    histograms = np.reshape(counts, (_CELLS, _CELLS, _ORIENTATIONS))
    energy = np.sqrt(np.maximum(uniform_filter((histograms**2).sum(axis=2), 3, mode="nearest"), 0))
    level = energy + 0.3 * energy.mean() + 1e-6
    return np.sqrt(histograms / level[..., None]).astype(np.float32).ravel()


def octave_energies(picture: Array) -> Array:
    """The logarithms of the standard deviations of the four levels of a square picture's Laplacian pyramid."""
    energies = []
    for _ in range(_OCTAVES):
        blurred = gaussian_filter(picture, 1.0, truncate=3.0)
        energies.append(np.log(float((picture - blurred).std()) + 1e-3))
        picture = blurred[::2, ::2]
    return np.array(energies, np.float32)


def _scaled(picture: Array) -> Array:
    low, high = np.percentile(picture, [1, 99])
    return np.clip((picture - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
