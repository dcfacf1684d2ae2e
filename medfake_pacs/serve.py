"""The composition root: starts the node's processes, starts one that dies again, and stops them in order."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medfake_pacs.config import Settings
from medfake_pacs.database import open_engine, upgrade

_LONGEST_PAUSE_S = 30.0
_STEADY_AFTER_S = 60.0
_POLL_S = 0.2
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Child:
    """One process of the node and when it may be started again."""

    name: str
    arguments: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    failures: int = 0
    start_at: float = field(default=0.0)


def prepare(settings: Settings) -> None:
    """Make the node's folders and bring its tables to the newest version."""
    for folder in (
        settings.node.state_dir,
        settings.spool_dir,
        settings.reports_dir,
        settings.checks_dir,
        settings.cache_dir,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.database_url)
    upgrade(engine)
    engine.dispose()


def run(settings: Settings, path: Path) -> int:
    """Run receivers, worker and console until SIGTERM or SIGINT; return the exit code.

    A process that dies is started again, at once the first time and then after pauses that double up to
    half a minute. At the end receivers stop first, so that nothing new comes in while the worker ends.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _setter(stop))
    prepare(settings)
    receivers = [
        _Child(name=f"receiver-{index}", arguments=_command(path, "receiver", index))
        for index in range(settings.node.receivers)
    ]
    worker = _Child(name="worker", arguments=_command(path, "worker", 0))
    consoles = [_Child(name="console", arguments=_command(path, "console", 0))] if settings.console.enabled else []
    children = [*receivers, worker, *consoles]
    _log.info("node starting", extra={"ae_title": settings.node.ae_title, "port": settings.node.port})
    while not stop.wait(_POLL_S):
        for child in children:
            _tend(child)
    limit_s = settings.association.network_timeout_s
    _end([*consoles, *receivers], limit_s + 5.0)
    _end([worker], 60.0)
    _log.info("node stopped")
    return 0


def _command(path: Path, role: str, index: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "medfake_pacs",
        "serve",
        "--config",
        str(path),
        "--only",
        role,
        "--index",
        str(index),
        "--supervisor",
        str(os.getpid()),
    ]


def _tend(child: _Child) -> None:
    now = time.monotonic()
    if child.process is not None:
        if child.process.poll() is None:
            return
        steady = now - child.started_at > _STEADY_AFTER_S
        child.failures = 0 if steady else child.failures + 1
        pause = min(_LONGEST_PAUSE_S, 2.0 ** (child.failures - 2)) if child.failures > 1 else 0.0
        child.start_at = now + pause
        extra = {"child": child.name, "exit_code": child.process.returncode, "again_in_s": pause}
        _log.error("a process died", extra=extra)
        child.process = None
    if now >= child.start_at:
        try:
            child.process = subprocess.Popen(child.arguments, stdin=subprocess.DEVNULL)
        except OSError as error:
            _log.error("a process can't be started", extra={"child": child.name, "reason": error.strerror})
            child.start_at = now + _LONGEST_PAUSE_S
        child.started_at = now


def _end(children: list[_Child], limit_s: float) -> None:
    running = [child for child in children if child.process is not None and child.process.poll() is None]
    for child in running:
        child.process.terminate()  # type: ignore[union-attr]
    deadline = time.monotonic() + limit_s
    for child in running:
        assert child.process is not None
        try:
            child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("a process had to be killed", extra={"child": child.name})
            child.process.kill()
            child.process.wait()


def _setter(event: threading.Event) -> Callable[[int, object], None]:
    def handle(_number: int, _frame: object) -> None:
        event.set()

    return handle
