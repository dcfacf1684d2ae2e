"""Detectors that read an image as the node does: score, domain, map, probability and verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medfake_pacs.classifier import Bundle, Classifier, load_bundle
from medfake_pacs.entities import DecodedFrame, FrameScore, VerdictLabel
from medfake_pacs.pixels.preprocess import preparer
from medfake_pacs.verdict import Profile
from medfake_pacs.workflows.profiles import profile_of

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a detector says of one image; ``cells`` is its map of logits, None where the image wasn't run."""

    score: float
    outside: str = ""
    probability: float | None = None
    verdict: str = ""
    cells: Array | None = None


class _Mapping(Classifier):
    """A classifier that keeps the maps of its last call, at the network's own cells."""

    last: Sequence[Array] = ()

    def maps(self, frames: Sequence[Array]) -> list[Array]:
        """As the classifier's."""
        maps = super().maps(frames)
        self.last = maps
        return maps


class ClassifierDetector:
    """A bundle on the engine that the node would use."""

    def __init__(self, bundle: Bundle, *, device: str = "auto", cache_dir: Path, name: str = "") -> None:
        self.bundle = bundle
        self.card = bundle.card
        self.name = name or bundle.card.name
        self.profile: Profile = profile_of(bundle)
        self.cell_px: int = bundle.card.network.cell_px
        self.families: tuple[str, ...] = tuple(bundle.card.training.get("families", ()))
        self._classifier = _Mapping(bundle, preparer=preparer, device=device, cache_dir=cache_dir)
        self.engine = self._classifier.engine

    def score(self, images: Sequence[Array]) -> list[float]:
        """One raw score for each image (H, W) in modality units, higher means fake."""
        return [reading.score for reading in self.read(images)]

    def read(self, images: Sequence[Array], lossy: Sequence[bool] = ()) -> list[Reading]:
        """What the node would say of each image (H, W) in modality units, taken alone.

        ``lossy``: which of them were compressed with loss; none where it isn't given.
        """
        frames = [
            DecodedFrame(frame_number=number, values=image, sha256="") for number, image in enumerate(images, start=1)
        ]
        self._classifier.last = ()
        scores = self._classifier.score_frames(frames)
        maps = iter(self._classifier.last)
        return [
            self._reading(score, None if score.outside_domain else next(maps), lossy=how)
            for score, how in zip(scores, lossy or [False] * len(scores), strict=True)
        ]

    def _reading(self, score: FrameScore, cells: Array | None, *, lossy: bool) -> Reading:
        limits = self.profile.limits_of(lossy=lossy, windows=1)
        if score.outside_domain or limits is None:
            verdict, probability = VerdictLabel.INDETERMINATE, None
        else:
            verdict, probability = limits.label(score.score), self.profile.probability(score.score)
        return Reading(
            score=score.score,
            outside=score.outside_domain,
            probability=probability,
            verdict=verdict.value,
            cells=cells,
        )


def open_detector(directory: Path, *, cache_dir: Path, device: str = "auto", name: str = "") -> ClassifierDetector:
    """The detector of a bundle's folder; named by its card unless told.

    Raises: BundleError when it can't be used.
    """
    return ClassifierDetector(load_bundle(directory), device=device, cache_dir=cache_dir, name=name)
