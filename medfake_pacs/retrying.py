"""When what failed is tried again: exponential backoff with jitter. Pure functions."""

from collections.abc import Callable

from medfake_pacs.config import RetrySettings

_LARGEST_EXPONENT = 40
_JITTER = 0.5


def next_attempt(attempt: int, retry: RetrySettings, random: Callable[[], float]) -> float:
    """Return how long to wait after the failed attempt number ``attempt`` (from 1), in seconds.

    It doubles from ``first_delay_s`` to ``max_delay_s``; ``random`` (0 to 1) takes up to half of it away,
    so that what failed together doesn't come back together.
    """
    return backoff(attempt, retry) * (1 - _JITTER * random())


def backoff(attempt: int, retry: RetrySettings) -> float:
    """Return the delay after the failed attempt number ``attempt`` (from 1) without jitter, in seconds."""
    exponent = min(max(attempt, 1) - 1, _LARGEST_EXPONENT)
    return float(min(retry.max_delay_s, retry.first_delay_s * 2**exponent))
