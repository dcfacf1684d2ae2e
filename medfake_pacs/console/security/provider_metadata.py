"""The single sign-on provider's metadata, kept for some minutes: whoever begins many sign-ins fetches it but once."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

_KEPT_S = 300.0


class ProviderMetadata:
    """Remembers what the provider said of itself. Thread-safe; one fetches it while the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Mapping[str, Any] = {}
        self._fetched_at = 0.0

    def get(self, fetch: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the metadata; ``fetch`` gets and checks it when what is known is too old. Failures aren't kept."""
        with self._lock:
            age_s = time.time() - self._fetched_at
            if not self._found or not 0 <= age_s < _KEPT_S:
                self._found, self._fetched_at = fetch(), time.time()
            return self._found
