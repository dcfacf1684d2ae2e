"""From frames to scores: domain check, preparation, tiles, engine, pooling, regions."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from medfake_pacs.classifier.bundle import DOMAIN_PREFIX, Bundle
from medfake_pacs.classifier.card import Card
from medfake_pacs.classifier.domain import DomainCheck
from medfake_pacs.classifier.engines import open_engine
from medfake_pacs.classifier.tiling import Place, assemble, cut
from medfake_pacs.entities import DecodedFrame, FrameScore, Region

Array = npt.NDArray[np.float32]
Preparer = Callable[[Mapping[str, Any]], Callable[[Array], Array]]
_MAX_REGIONS = 5
KEPT_CELL_PX = 32


class Engine(Protocol):
    """What runs the network."""

    name: str

    def run(self, tiles: Iterable[Array]) -> Array:
        """Tiles, each (C, T, T) float32, to their logits (N, T/cell, T/cell) float32 in the same order."""


class Classifier:
    """A bundle with its engine. Frames go in at native resolution, scores come out in the same order."""

    def __init__(
        self, bundle: Bundle, *, preparer: Preparer, device: str = "auto", threads: int = 0, cache_dir: Path | str
    ) -> None:
        """Opens the engine.

        ``preparer`` makes, from the card's "preprocessing", the function that turns a frame (H, W) in modality
        units into input channels (C, H, W): ``medfake_pacs.pixels.preparer``. ``device``: auto, cpu, torch-cpu,
        cuda. ``threads``: 0 leaves it to the engine. ``cache_dir`` keeps converted and compiled models.

        Raises: BundleError when the weights don't fit the card's network.
        """
        self.card: Card = bundle.card
        self.model_sha256 = bundle.model_sha256
        self._domain = DomainCheck(bundle.card.domain, bundle.tensors(DOMAIN_PREFIX))
        self._prepare = preparer(bundle.card.preprocessing)
        self._engine: Engine = open_engine(bundle, device=device, threads=threads, cache_dir=Path(cache_dir))
        self.engine: str = self._engine.name

    def score_frames(self, frames: Sequence[DecodedFrame]) -> tuple[FrameScore, ...]:
        """Scores frames in modality units. A frame outside the card's domain isn't run: its score is 0."""
        objections = [self._domain.objection(frame.values) for frame in frames]
        maps = self.maps([frame.values for frame, why in zip(frames, objections, strict=True) if not why])
        remaining = iter(maps)
        scores = []
        for frame, why in zip(frames, objections, strict=True):
            if why:
                scores.append(FrameScore(frame_number=frame.frame_number, score=0.0, outside_domain=why))
                continue
            logits = next(remaining)
            scores.append(
                FrameScore(
                    frame_number=frame.frame_number,
                    score=pooled(logits, self.card.pooling.top_k_positions),
                    regions=regions(logits, frame.values.shape, self.card),
                    tiles=cells(logits, self.card.network.cell_px),
                )
            )
        return tuple(scores)

    def maps(self, frames: Sequence[Array]) -> list[Array]:
        """The maps of logits of frames (H, W), a number for each of the network's cells; no domain check."""
        wheres: list[tuple[Place, ...]] = []
        cell_px = self.card.network.cell_px

        def tiles() -> Iterator[Array]:
            # Drawn by the engine one by one: the next frame is prepared while the last one's tiles are running.
            for frame in frames:
                cuttings, where = cut(self._prepare(frame), self.card.tile, cell_px)
                wheres.append(where)
                yield from cuttings

        logits = self._engine.run(tiles())
        result, start = [], 0
        for frame, where in zip(frames, wheres, strict=True):
            result.append(
                assemble(logits[start : start + len(where)], where, (frame.shape[0], frame.shape[1]), cell_px)
            )
            start += len(where)
        return result


def pooled(logits: Array, positions: int) -> float:
    """The mean of the ``positions`` highest logits of a map, or of all where there are fewer."""
    flat = np.sort(logits, axis=None)
    return float(flat[-min(positions, flat.size) :].mean())


def cells(logits: Array, cell_px: int) -> tuple[tuple[float, ...], ...]:
    """A map of logits as rows of plain numbers with two decimals: enough to draw it, and small enough to keep.

    Kept cells are 32 pixels wide; smaller ones are brought together, the highest stands for all.
    """
    share = KEPT_CELL_PX // cell_px
    if share > 1:
        rows, columns = (-(-size // share) * share for size in logits.shape)
        whole = np.full((rows, columns), -np.inf, np.float32)
        whole[: logits.shape[0], : logits.shape[1]] = logits
        logits = whole.reshape(rows // share, share, columns // share, share).max(axis=(1, 3))
    return tuple(tuple(round(value, 2) for value in row) for row in logits.tolist())


def regions(logits: Array, shape: Sequence[int], card: Card) -> tuple[Region, ...]:
    """Rectangles around connected cells whose own calibrated probability is above one half; five at most."""
    hot = card.calibration.slope * logits + card.calibration.intercept > 0
    numbered, _ = label(hot, structure=np.ones((3, 3)))
    found = []
    cell_px = card.network.cell_px
    for number, box in enumerate(find_objects(numbered), start=1):
        rows, columns = box
        top, left = rows.start * cell_px, columns.start * cell_px
        found.append(
            Region(
                x=left,
                y=top,
                width=min(columns.stop * cell_px, shape[1]) - left,
                height=min(rows.stop * cell_px, shape[0]) - top,
                score=float(logits[numbered == number].max()),
            )
        )
    return tuple(sorted(found, key=lambda region: -region.score)[:_MAX_REGIONS])
