"""Decode and score the images of one chunk, their frames mixed into common batches."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from medfake_pacs.database import reading
from medfake_pacs.database.tables import scores
from medfake_pacs.entities import DecodedFrame, FrameScore, ImageAttributes, ImageInfo, Score
from medfake_pacs.errors import BundleError, MedfakeError
from medfake_pacs.pixels import DecoderProcess, pixel_digest
from medfake_pacs.routing import Routing
from medfake_pacs.verdict import LOCALIZER
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.models import Pinned
from medfake_pacs.workflows.rows import score_from_row

if TYPE_CHECKING:
    from medfake_pacs.classifier import Classifier

_BUFFERED_BYTES = 128 * 1024 * 1024
_BUFFERED_FRAMES = 16
# Not the image's fault: no reason to call it not assessed.
NODE_FAULTS = (sa.exc.SQLAlchemyError, OSError, MemoryError, BundleError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One image to score: its row, and how its series is routed."""

    instance_id: int
    attributes: ImageAttributes
    path: Path
    content_sha256: str
    calling_ae_title: str
    routing: Routing

    @property
    def refusal(self) -> str:
        """Why this image isn't scored although it may be decoded; empty where it is."""
        if "LOCALIZER" in self.attributes.image_type.upper():
            return f"{LOCALIZER}: not of a kind that is assessed"
        return self.routing.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one image: a score, or a reason why there is none."""

    work: Work
    info: ImageInfo | None = None
    pixel_sha256: str = ""
    model_sha256: str = ""
    score: Score | None = None
    reason: str = ""


def assess_images(
    context: Context, decoder: DecoderProcess, works: Sequence[Work], pinned: Pinned | None = None
) -> list[Outcome]:
    """Return what became of each image; one that fails costs its own score only.

    All are scored by the bundles in ``pinned``; without it by those that are in force when the first image needs one.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError, OSError, MemoryError, BundleError
        If it is the node that can't score now: database or spool out of reach, model missing or damaged.
        The caller tries again later.
    """
    if not context.settings.spool_dir.is_dir():
        raise OSError("the spool is out of reach")
    batches = _Batches(pinned or Pinned(context.models))
    decoded = [_decode(context, decoder, batches, index, work) for index, work in enumerate(works)]
    batches.flush_all()
    return [batches.complete(index, outcome) for index, outcome in enumerate(decoded)]


def _decode(context: Context, decoder: DecoderProcess, batches: "_Batches", index: int, work: Work) -> Outcome:
    try:
        return _decode_frames(context, decoder, batches, index, work)
    except NODE_FAULTS:
        raise
    except Exception as error:  # noqa: BLE001 - the workflow step's boundary: one image must not stop its chunk
        batches.forget(index, work.routing.model)
        return Outcome(work=work, reason=_reason(work, error))


def _decode_frames(context: Context, decoder: DecoderProcess, batches: "_Batches", index: int, work: Work) -> Outcome:
    if not work.path.is_file():
        return Outcome(work=work, reason="the spooled file is missing")
    model = "" if work.refusal else work.routing.model
    model_sha256 = batches.pinned.bundle(model).model_sha256 if model else ""
    info, frames = decoder.open(work.path)
    digests = []
    for frame in frames:
        digests.append(frame.sha256)
        if model:
            batches.take(index, model, frame)
    outcome = Outcome(
        work=work, info=info, pixel_sha256=pixel_digest(digests, info), model_sha256=model_sha256, reason=work.refusal
    )
    if not model or batches.has_scored(index):
        return outcome
    cached = _cached_score(context, outcome.pixel_sha256, model_sha256)
    if cached:
        batches.forget(index, model)
    return replace(outcome, score=cached)


def _cached_score(context: Context, pixel_sha256: str, model_sha256: str) -> Score | None:
    with reading(context.engine) as connection:
        row = connection.execute(
            sa.select(scores).where(scores.c.pixel_sha256 == pixel_sha256, scores.c.model_sha256 == model_sha256)
        ).one_or_none()
    return score_from_row(row) if row else None


def _reason(work: Work, error: Exception) -> str:
    if isinstance(error, MedfakeError):
        _log.warning("image not assessed", extra={"instance_id": work.instance_id, "error": type(error).__name__})
        return str(error)
    _log.error("image not assessed", exc_info=error, extra={"instance_id": work.instance_id})
    return f"internal error while scoring: {type(error).__name__}"


class _Batches:
    """Frames that wait for the model, by model name, and the scores that came back, by image."""

    def __init__(self, pinned: Pinned) -> None:
        self.pinned = pinned
        self._waiting: dict[str, list[tuple[int, DecodedFrame]]] = {}
        self._scored: dict[int, list[FrameScore]] = {}
        self._failed: dict[int, Exception] = {}
        self._engines: dict[int, str] = {}

    def take(self, index: int, model: str, frame: DecodedFrame) -> None:
        waiting = self._waiting.setdefault(model, [])
        waiting.append((index, frame))
        if len(waiting) > _BUFFERED_FRAMES or sum(item.values.nbytes for _, item in waiting) > _BUFFERED_BYTES:
            self._flush(model)

    def has_scored(self, index: int) -> bool:
        return index in self._scored

    def forget(self, index: int, model: str) -> None:
        self._waiting[model] = [item for item in self._waiting.get(model, []) if item[0] != index]

    def flush_all(self) -> None:
        for model in list(self._waiting):
            self._flush(model)

    def complete(self, index: int, outcome: Outcome) -> Outcome:
        if index in self._failed:
            return replace(outcome, reason=_reason(outcome.work, self._failed[index]))
        if outcome.score or outcome.reason:
            return outcome
        frames = tuple(self._scored.get(index, ()))
        if not frames:
            return replace(outcome, reason="no frame was decoded")
        score = Score(
            pixel_sha256=outcome.pixel_sha256,
            model_sha256=outcome.model_sha256,
            frames=frames,
            engine=self._engines[index],
        )
        return replace(outcome, score=score)

    def _flush(self, model: str) -> None:
        waiting = self._waiting.pop(model, [])
        if not waiting:
            return
        classifier = self.pinned.classifier(model)
        try:
            self._score(classifier, waiting)
        except NODE_FAULTS:
            raise
        except Exception as error:  # noqa: BLE001 - the workflow step's boundary: find the image that is to blame
            if len({index for index, _ in waiting}) == 1:
                self._failed[waiting[0][0]] = error
                return
            for index in sorted({index for index, _ in waiting}):
                self._waiting[model] = [item for item in waiting if item[0] == index]
                self._flush(model)

    def _score(self, classifier: "Classifier", waiting: Sequence[tuple[int, DecodedFrame]]) -> None:
        found = classifier.score_frames([frame for _, frame in waiting])
        for (index, _), score in zip(waiting, found, strict=True):
            self._scored.setdefault(index, []).append(score)
            self._engines[index] = classifier.engine
