"""What the console's process remembers from request to request; losing it costs a row of the log or a look-up."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

_ONE_VIEW_S = 3600.0
_REMEMBERED = 10_000
_ANSWER_S = 5.0


class Views:
    """Which account has looked at which study lately, so that a page and its hundred pictures are one view."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[tuple[int, str], float] = OrderedDict()

    def note(self, user_id: int, study_instance_uid: str, now: float) -> bool:
        """Remember a view; tell whether there was none of this account and study within the hour before."""
        key = (user_id, study_instance_uid)
        with self._lock:
            before = self._last.pop(key, None)
            self._last[key] = now if before is None or now - before > _ONE_VIEW_S else before
            while len(self._last) > _REMEMBERED:
                self._last.popitem(last=False)
        return before is None or now - before > _ONE_VIEW_S

    def renew(self, user_id: int, study_instance_uid: str, now: float) -> None:
        """Remember a view that was put into the log."""
        with self._lock:
            self._last.pop((user_id, study_instance_uid), None)
            self._last[user_id, study_instance_uid] = now


class Calibrations:
    """The calibration of models by their digest, which covers it: it never changes."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, float]] = {}

    def get(self, model_sha256: str) -> tuple[float, float] | None:
        """Return (slope, intercept), or None if nobody has asked before."""
        return self._found.get(model_sha256)

    def keep(self, model_sha256: str, calibration: tuple[float, float]) -> None:
        """Remember a model's (slope, intercept)."""
        if len(self._found) < _REMEMBERED:
            self._found[model_sha256] = calibration


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to whoever asked."""

    status: int
    content: bytes


@dataclass(slots=True)
class _Kept:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    answer: Answer | None = None
    made_at: float = 0.0


class Answers:
    """Answers that anybody may ask for, each made once in five seconds; those who wait for one hold no thread."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    async def get(self, name: str, make: Callable[[], Answer]) -> Answer:
        """Return the answer called ``name``; where there is none that is new enough, ``make`` it in a thread."""
        kept = self._kept.setdefault(name, _Kept())
        async with kept.lock:
            answer = kept.answer
            if answer is None or time.monotonic() - kept.made_at > _ANSWER_S:
                answer = kept.answer = await run_in_threadpool(make)
                kept.made_at = time.monotonic()
            return answer

    def forget(self) -> None:
        """Have every answer made anew."""
        for kept in self._kept.values():
            kept.answer = None
