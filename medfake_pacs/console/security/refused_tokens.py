"""Tokens that are refused go to the log, a bounded number of them: whoever tries many fills no disk."""

import threading
from collections import OrderedDict

_EACH_HOST_S = 60.0
_WINDOW_S = 60.0
_MOST_IN_WINDOW = 10
_MOST_HOSTS = 1000


class RefusedTokens:
    """Counts refusals and says which are to be logged: one for each host and minute, ten a minute altogether."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged_at: OrderedDict[str, float] = OrderedDict()
        self._window_began = 0.0
        self._in_window = 0
        self._unlogged = 0

    def to_log(self, host: str, now: float) -> int | None:
        """Count a refusal; return how many weren't logged before it if this one is to be logged, else None."""
        with self._lock:
            if now - self._window_began >= _WINDOW_S:
                self._window_began, self._in_window = now, 0
            logged_at = self._logged_at.get(host)
            recent = logged_at is not None and now - logged_at < _EACH_HOST_S
            if recent or self._in_window >= _MOST_IN_WINDOW:
                self._unlogged += 1
                return None
            self._in_window += 1
            self._logged_at[host] = now
            self._logged_at.move_to_end(host)
            if len(self._logged_at) > _MOST_HOSTS:
                self._logged_at.popitem(last=False)
            before, self._unlogged = self._unlogged, 0
            return before
