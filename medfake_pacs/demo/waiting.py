"""Waiting with a deadline, and free ports."""

import socket
import threading
import time
from collections.abc import Callable

_POLL_S = 0.05


def wait_until(predicate: Callable[[], bool], timeout_s: float) -> bool:
    """Return True as soon as ``predicate`` holds, False when it doesn't within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not predicate():
        if time.monotonic() > deadline:
            return False
        pause.wait(_POLL_S)
    return True


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
