"""Whether a frame is of the kind that a model was trained on; if not, why not.

Size, range and noise are looked at first, then what the frame shows: for radiographs its coarse look against the
training images' (looks.py), for CT of the chest its tissues (anatomy.py). That keeps blank frames, photographs and
other body parts from getting a verdict that nobody has measured. It is no defence against somebody who knows it, and
it isn't meant to notice edits: a fake must stay inside the domain, or it would never be judged.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import uniform_filter

from medfake_pacs.classifier.anatomy import WORDS, anatomy
from medfake_pacs.classifier.domains import (
    BLOCKS,
    Domain,
    LungCtDomain,
    RadiographDomain,
    ThumbnailDomain,
    tensor_names,
)
from medfake_pacs.classifier.looks import looks
from medfake_pacs.errors import BundleError

Array = npt.NDArray[np.float32]
Tensors = Mapping[str, npt.NDArray[np.generic]]
UNLIKE = "content unlike that of the images the model was trained on"
_SAMPLED_PX = 256
_BINS = 16
_HISTOGRAM_WEIGHT = 6.0


class DomainCheck:
    """A card's domain with the components from its weights file."""

    def __init__(self, domain: Domain, tensors: Tensors) -> None:
        """Raises BundleError naming the tensors that the weights file lacks."""
        if missing := tensor_names(domain) - set(tensors):
            raise BundleError(f"the weights file lacks {', '.join(sorted(missing))}")
        self._domain = domain
        prefixes = [f"domain.{block}" for block in BLOCKS] if isinstance(domain, RadiographDomain) else ["domain"]
        self._spaces = {} if isinstance(domain, LungCtDomain) else {name: Space(tensors, name) for name in prefixes}

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
        if isinstance(domain, ThumbnailDomain):
            return self._unlike_thumbnails(frame, domain)
        low, high = value_range(frame)
        if not high - low >= domain.min_range:
            return "blank or nearly constant"
        if not domain.noise[0] <= noise_level(frame) <= domain.noise[1]:
            return "noise unlike that of the images the model was trained on"
        return self._odd_tissue(frame, domain) if isinstance(domain, LungCtDomain) else self._odd_look(frame, domain)

    def distances(self, frame: Array) -> dict[str, tuple[float, float]]:
        """How far a radiograph's blocks are from the training images': within the components, and off them."""
        return {block: self._spaces[f"domain.{block}"].distances(values) for block, values in looks(frame).items()}

    def _odd_look(self, frame: Array, domain: RadiographDomain) -> str:
        distances = self.distances(frame)
        # A distance that is no number is outside, too.
        odd = [
            block
            for block in BLOCKS
            if not all(value <= limit for value, limit in zip(distances[block], domain.limits[block], strict=True))
        ]
        return f"{UNLIKE}: {', '.join(odd)}" if odd else ""

    @staticmethod
    def _odd_tissue(frame: Array, domain: LungCtDomain) -> str:
        found = anatomy(frame)
        if not found:
            return f"{UNLIKE}: nothing as dense as a body"
        if found["lung"] < domain.ranges["lung"][0]:
            return f"no lung to assess: {found['lung']:.1%} of the body, the model needs {domain.ranges['lung'][0]:.1%}"
        for name, (low, high) in domain.ranges.items():
            if not low <= found[name] <= high:
                form = "{:.0f} HU" if name.endswith("_hu") else "{:.1%}"
                stated = f"{form.format(found[name])}, in the domain {form.format(low)} to {form.format(high)}"
                return f"{UNLIKE}: {WORDS[name]} {stated}"
        return ""

    def _unlike_thumbnails(self, frame: Array, domain: ThumbnailDomain) -> str:
        low, high = np.percentile(frame, [1, 99])
        if high - low < domain.min_range:
            return "blank or nearly constant"
        noise = noise_ratio(frame)
        if not domain.noise[0] <= noise <= domain.noise[1]:
            return "noise unlike that of the images the model was trained on"
        distance, off = self._spaces["domain"].distances(thumbnail_features(frame, domain))
        if not (distance <= domain.max_distance and off <= domain.max_residual):
            return UNLIKE
        return ""


class Space:
    """The principal components of some features of the training images."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self._mean = tensors[f"{prefix}.mean"].astype(np.float32)
        self._components = tensors[f"{prefix}.components"].astype(np.float32)
        self._deviation = tensors[f"{prefix}.deviation"].astype(np.float32)

    def distances(self, features: Array) -> tuple[float, float]:
        """How far features (D,) are: within the components (standard deviations), and off them (RMS)."""
        centred = features - self._mean
        code = self._components @ centred
        off = centred - code @ self._components
        return float(np.sqrt(np.mean((code / self._deviation) ** 2))), float(np.sqrt(np.mean(off**2)))


def value_range(frame: Array) -> tuple[float, float]:
    """The 1st and 99th percentile of every n-th pixel of the frame (H, W): of some 256×256 of them."""
    rows, columns = (max(1, size // _SAMPLED_PX) for size in frame.shape)
    low, high = np.percentile(frame[::rows, ::columns], [1, 99])
    return float(low), float(high)


def noise_level(frame: Array) -> float:
    """The median absolute 3×3 residual of the frame's inner part, over its 1st to 99th percentile range."""
    low, high = value_range(frame)
    inner = _inner(frame)
    rows = inner[:-2] + inner[1:-1] + inner[2:]
    means = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    residual = np.abs(inner[1:-1, 1:-1] - means)[::2, ::2]
    return float(np.median(residual)) / max(high - low, 1e-6)


def noise_ratio(frame: Array) -> float:
    """The same of all pixels, as cards of the first kind have it."""
    low, high = np.percentile(frame, [1, 99])
    inner = _inner(frame)
    residual = np.abs(inner - uniform_filter(inner, 3, mode="reflect"))
    return float(np.median(residual) / max(float(high - low), 1e-6))


def _inner(frame: Array) -> Array:
    rows, columns = (slice(size // 4, size - size // 4) for size in frame.shape)
    return frame[rows, columns]


def thumbnail_features(frame: Array, domain: ThumbnailDomain) -> Array:
    """A thumbnail of the frame (H, W) and the square roots of its histogram, (size_px² + 16,) float32.

    Values are scaled so that the domain's range, or the frame's 1st and 99th percentile, becomes 0..1. The
    histogram weighs six times: it tells a photograph in Hounsfield's range from a CT slice better than shapes do.
    """
    low, high = domain.thumbnail_range or np.percentile(frame, [1, 99])
    scaled = np.clip((frame - low) / max(float(high) - float(low), 1e-6), 0, 1).astype(np.float32)
    side_px = domain.thumbnail_px
    small = Image.fromarray(scaled).resize((side_px, side_px), Image.Resampling.BOX)
    counts, _ = np.histogram(scaled, bins=_BINS, range=(0, 1))
    histogram = np.sqrt(counts / scaled.size) * _HISTOGRAM_WEIGHT
    return np.concatenate([np.asarray(small, np.float32).ravel(), histogram.astype(np.float32)])
