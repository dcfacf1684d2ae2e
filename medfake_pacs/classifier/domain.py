"""Whether a frame is of the kind that a model was trained on; if not, why not.

Three checks: size, range and noise of the values, and a 16×16 thumbnail with a histogram against the principal
components of the training images'. They keep blank frames, photographs and other body parts from getting
a verdict that nobody has measured; they are no defence against somebody who knows them.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import uniform_filter

from medfake_pacs.classifier.card import Domain

Array = npt.NDArray[np.float32]
_BINS = 16
_HISTOGRAM_WEIGHT = 6.0


def noise_ratio(frame: Array) -> float:
    """The median absolute 3×3 residual of the frame's inner part over its 1st to 99th percentile range."""
    low, high = np.percentile(frame, [1, 99])
    rows, columns = (slice(size // 4, size - size // 4) for size in frame.shape)
    inner = frame[rows, columns]
    residual = np.abs(inner - uniform_filter(inner, 3, mode="reflect"))
    return float(np.median(residual) / max(float(high - low), 1e-6))


def features(frame: Array, size_px: int, value_range: tuple[float, float] | None) -> Array:
    """A thumbnail of the frame (H, W) and the square roots of its histogram, (size_px² + 16,) float32.

    Values are scaled so that ``value_range``, or the frame's 1st and 99th percentile, becomes 0..1. The
    histogram weighs six times: it tells a photograph in Hounsfield's range from a CT slice better than shapes do.
    """
    low, high = value_range or np.percentile(frame, [1, 99])
    scaled = np.clip((frame - low) / max(float(high) - float(low), 1e-6), 0, 1).astype(np.float32)
    small = Image.fromarray(scaled).resize((size_px, size_px), Image.Resampling.BOX)
    counts, _ = np.histogram(scaled, bins=_BINS, range=(0, 1))
    histogram = np.sqrt(counts / scaled.size) * _HISTOGRAM_WEIGHT
    return np.concatenate([np.asarray(small, np.float32).ravel(), histogram.astype(np.float32)])


class DomainCheck:
    """A card's domain with the components from its weights file."""

    def __init__(self, domain: Domain, tensors: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._domain = domain
        self._mean = tensors["domain.mean"].astype(np.float32)
        self._components = tensors["domain.components"].astype(np.float32)
        self._deviation = tensors["domain.deviation"].astype(np.float32)

    def distances(self, frame: Array) -> tuple[float, float]:
        """How far the frame's features are: within the components (standard deviations), and off them (RMS)."""
        centred = features(frame, self._domain.thumbnail_px, self._domain.thumbnail_range) - self._mean
        code = self._components @ centred
        off = centred - code @ self._components
        return float(np.sqrt(np.mean((code / self._deviation) ** 2))), float(np.sqrt(np.mean(off**2)))

    def objection(self, frame: Array) -> str:
        """Why the frame (H, W), in modality units, is outside the domain; empty where it is inside."""
        domain = self._domain
        shortest, longest = min(frame.shape), max(frame.shape)
        if shortest < domain.min_side_px:
            return f"shorter side {shortest} px, the model needs {domain.min_side_px}"
        if longest > domain.max_side_px:
            return f"longer side {longest} px, the model was made for {domain.max_side_px} at most"
        if not np.isfinite(frame).all():
            return "values that are not finite"
        low, high = np.percentile(frame, [1, 99])
        if high - low < domain.min_range:
            return "blank or nearly constant"
        noise = noise_ratio(frame)
        if not domain.noise[0] <= noise <= domain.noise[1]:
            return "noise unlike that of the images the model was trained on"
        distance, off = self.distances(frame)
        if distance > domain.max_distance or off > domain.max_residual:
            return "content unlike that of the images the model was trained on"
        return ""
