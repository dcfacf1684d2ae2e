"""Helpers that every kind of test shares: deadlines instead of sleeps, ephemeral ports, the data folder."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("MEDFAKE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
IN_CI = os.environ.get("CI") == "true"
_POLL_S = 0.02
T = TypeVar("T")


def wait_for(predicate: Callable[[], T], timeout_s: float, what: str) -> T:
    """Return the first truthy value of ``predicate``; fail the test naming ``what`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s in vain for {what}")
        pause.wait(_POLL_S)


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def need_data(name: str) -> Path:
    """Return the folder ``name`` of the shared data; without it skip, or fail where CI requires it."""
    folder = SHARED_DATA / name
    if folder.exists():
        return folder
    message = f"{folder} is absent: set MEDFAKE_TEST_DATA to the folder that holds {name}/"
    if IN_CI:
        pytest.fail(message)
    pytest.skip(message)


def need_tool(path: str) -> str:
    """Return the path of an installed program; without it skip, or fail where CI requires it."""
    if Path(path).exists():
        return path
    if IN_CI:
        pytest.fail(f"{path} is absent: .ci/run installs it")
    pytest.skip(f"{path} is not installed")
