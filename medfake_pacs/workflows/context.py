"""What every workflow step needs: settings, tables, models and decoders; made once by the worker."""

import queue
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from medfake_pacs.config import Settings
from medfake_pacs.pixels import DecoderProcess, PixelLimits
from medfake_pacs.workflows.models import Models

__all__ = ["Context", "Decoders", "Models", "pixel_limits"]


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
