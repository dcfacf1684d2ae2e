"""Probes that hide the edit: what is left must not tell a real image from a fake."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from training.baselines.detector import Detector
from training.probes import classifiers, facts
from training.probes.pairs import Item
from training.probes.result import Scores

Array = npt.NDArray[np.float32]
FRAME_PX = 16
_MARGIN_PX = 8


def without_box(items: Sequence[Item], *, seed: int) -> list[Item]:
    """The images with the edited box and 8 px around it filled with the median of the rest.

    A real image without a box of its own gets that of a fake, so that the filling tells nothing. Fakes whose edit
    is unknown are left out.
    """
    rng = np.random.default_rng(seed)
    boxes = [item.box for item in items if item.fake and item.box is not None]
    kept = [item for item in items if boxes and (item.box is not None or not item.fake)]
    return [replace(item, image=_filled(item.image, item.box or boxes[int(rng.integers(len(boxes)))])) for item in kept]


def _filled(image: Array, box: tuple[int, int, int, int]) -> Array:
    hidden = np.zeros(image.shape, bool)
    top, bottom, left, right = box
    rows = slice(max(0, top - _MARGIN_PX), bottom + _MARGIN_PX)
    hidden[rows, max(0, left - _MARGIN_PX) : right + _MARGIN_PX] = True
    return _covered(image, hidden)


def border_only(items: Sequence[Item]) -> list[Item]:
    """The outer 16 px, everything within filled with their median; pairs whose edit reaches the frame are left out."""
    result = []
    for item in items:
        if item.box is not None and _reaches_frame(item.box, item.image.shape):
            continue
        hidden = np.zeros(item.image.shape, bool)
        hidden[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX] = True
        result.append(replace(item, image=_covered(item.image, hidden)))
    return result


def _reaches_frame(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> bool:
    top, bottom, left, right = box
    return min(top, left) < FRAME_PX or bottom > shape[0] - FRAME_PX or right > shape[1] - FRAME_PX


def _covered(image: Array, hidden: npt.NDArray[np.bool_]) -> Array:
    if hidden.all():
        return np.zeros_like(image)
    return np.where(hidden, np.float32(np.rint(np.median(image[~hidden]))), image).astype(np.float32)


def by_classifier(items: Sequence[Item], *, seed: int) -> list[Scores]:
    """Scores of a forest that sees the metadata, the histogram, the 8-px grid and a thumbnail of 8×8 px."""
    small = facts.thumbnail(items).reshape(len(items), 8, 4, 8, 4).mean(axis=(2, 4)).reshape(len(items), -1)
    values = np.hstack([facts.metadata(items), facts.histogram(items), facts.block_grid(items), small])
    return classifiers.cross_validated(items, values, classifiers.forest, seed)


def by_detector(detector: Detector, items: Sequence[Item]) -> Scores:
    """The detector's scores; images that are the same are scored once."""
    number: dict[bytes, int] = {}
    keys = [np.asarray(item.image.shape).tobytes() + item.image.tobytes() for item in items]
    unique = [item.image for key, item in zip(keys, items, strict=True) if _new(key, number)]
    scores = detector.score(unique)
    return classifiers.scores_of(items, [scores[number[key]] for key in keys])


def _new(key: bytes, number: dict[bytes, int]) -> bool:
    if key in number:
        return False
    number[key] = len(number)
    return True
