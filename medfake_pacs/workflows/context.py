"""What every workflow step needs: settings, tables, models and decoders; made once by the worker."""

import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from medfake_pacs.config import Settings
from medfake_pacs.config.checks import CARD_NAME
from medfake_pacs.errors import BundleError
from medfake_pacs.pixels import DecoderProcess, PixelLimits
from medfake_pacs.workflows.profiles import profile_of

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle, Classifier
    from medfake_pacs.verdict import Profile


_log = logging.getLogger(__name__)


def pixel_limits(settings: Settings) -> PixelLimits:
    """Return the configured bounds on what one image may cost."""
    pixels = settings.pixels
    return PixelLimits(
        max_pixels_per_frame=pixels.max_pixels_per_frame,
        max_frames=pixels.max_frames,
        max_decoded_bytes=pixels.max_decoded_bytes,
        max_memory_bytes=pixels.max_memory_bytes,
        timeout_s=pixels.timeout_s,
    )


class Models:
    """The bundles by name, and a classifier for each that was asked for, made once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._bundles: dict[str, Bundle] | None = None
        self._classifiers: dict[str, Classifier] = {}

    def bundle(self, name: str) -> "Bundle":
        """Return the bundle ``name``, its digests checked.

        Raises
        ------
        BundleError
            If there is none of that name, or it is damaged.
        """
        with self._lock:
            return self._bundle(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of the bundles that are installed."""
        with self._lock:
            return tuple(sorted(self._all()))

    def classifier(self, name: str) -> "Classifier":
        """Return the classifier of the bundle ``name``; the first call compiles or loads it."""
        from medfake_pacs.classifier import Classifier
        from medfake_pacs.pixels.preprocess import preparer

        with self._lock:
            if name not in self._classifiers:
                self._classifiers[name] = Classifier(
                    self._bundle(name),
                    preparer=preparer,
                    device=self._settings.scoring.device,
                    threads=self._settings.scoring.threads,
                    cache_dir=self._settings.cache_dir,
                )
            return self._classifiers[name]

    def profile(self, model_sha256: str) -> "Profile | None":
        """Return how to read the scores of the model with this digest; None if it isn't installed."""
        with self._lock:
            bundles = self._all().values()
        return next((profile_of(item) for item in bundles if item.model_sha256 == model_sha256), None)

    def _all(self) -> "dict[str, Bundle]":
        from medfake_pacs.classifier import load_bundle

        if self._bundles is None:
            self._bundles = {}
            for card in sorted(self._settings.models_dir.glob(f"*/{CARD_NAME}")):
                try:
                    bundle = load_bundle(card.parent)
                except BundleError as error:
                    _log.error("a model bundle is damaged", extra={"folder": card.parent.name, "reason": str(error)})
                    continue
                self._bundles[bundle.card.name] = bundle
        return self._bundles

    def _bundle(self, name: str) -> "Bundle":
        found = self._all().get(name)
        if found is None:
            # It may have been repaired meanwhile; the next to ask looks again.
            self._bundles = None
            raise BundleError(f"no model bundle is named {name!r} in {self._settings.models_dir}")
        return found


class Decoders:
    """Decoding child processes, one for each thread that decodes at a time."""

    def __init__(self, limits: PixelLimits) -> None:
        self._limits = limits
        self._idle: queue.SimpleQueue[DecoderProcess] = queue.SimpleQueue()

    @contextmanager
    def borrow(self) -> Iterator[DecoderProcess]:
        """Yield a decoder that nobody else uses meanwhile."""
        try:
            decoder = self._idle.get_nowait()
        except queue.Empty:
            decoder = DecoderProcess(self._limits)
        try:
            yield decoder
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End every idle child process."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


@dataclass(frozen=True, slots=True)
class Context:
    """The worker's belongings."""

    settings: Settings
    engine: sa.Engine
    models: Models
    decoders: Decoders
    # Tells this process from one that had the same work in hand and died.
    process_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: float = field(default_factory=time.time)
    destination_locks: dict[str, threading.Lock] = field(default_factory=dict)

    @classmethod
    def open(cls, settings: Settings, engine: sa.Engine) -> "Context":
        """Return the context for one worker process."""
        return cls(
            settings=settings,
            engine=engine,
            models=Models(settings),
            decoders=Decoders(pixel_limits(settings)),
            destination_locks={item.name: threading.Lock() for item in settings.destinations},
        )
