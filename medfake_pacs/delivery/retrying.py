"""When a destination that fails is tried again: one circuit breaker per destination.

Pure functions: the time and the history are arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from medfake_pacs.config import RetrySettings
from medfake_pacs.retrying import backoff

FAILURES_TO_OPEN = 3


class CircuitState(StrEnum):
    """Whether reports flow to a destination (closed), are held back (open), or one may try (half-open)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The state of one destination; the times are seconds since the epoch, 0 while it is closed.

    ``fresh_probe_at`` is when a report that was never tried may try, ``probe_at`` when any report may.
    """

    state: CircuitState
    failures: int = 0
    fresh_probe_at: float = 0.0
    probe_at: float = 0.0


def circuit(failed_at: Sequence[float], retry: RetrySettings, now: float) -> Circuit:
    """Return the state of a destination's circuit.

    Parameters
    ----------
    failed_at
        When each of the associations failed that were tried since the last answer from the destination,
        newest first. A refusal of one object is an answer; no association, no response, or a full disk
        (0xA7xx) is not.
    retry
        The destination's settings: the same delays as for one delivery, without jitter.
    now
        Seconds since the epoch.
    """
    failures = len(failed_at)
    if failures < FAILURES_TO_OPEN:
        return Circuit(state=CircuitState.CLOSED, failures=failures)
    probe_at = failed_at[0] + backoff(failures - FAILURES_TO_OPEN + 1, retry)
    return Circuit(
        state=CircuitState.HALF_OPEN if now >= probe_at else CircuitState.OPEN,
        failures=failures,
        fresh_probe_at=failed_at[0] + retry.first_delay_s,
        probe_at=probe_at,
    )
