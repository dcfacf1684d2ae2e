"""A whole node as the subject of a test: `medfake-pacs serve` in a process group of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
import sqlalchemy as sa

from medfake_pacs.database import open_engine, reading
from medfake_pacs.database.console_tables import metadata
from tests.support import REPOSITORY, free_port, wait_for

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 90.0


class NodeProcess:
    """One node with its own state folder and port; it may be killed and started again on what it left behind.

    ``destinations`` are (name, AE title, port) on loopback, ``routes`` are TOML tables as text, ``extra`` is
    more TOML. ``cache`` is a folder with converted models that the tests share. With ``console`` the console
    runs too, on ``console_port``; an ``extra`` that has a [console] section says its port itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        destinations: Sequence[tuple[str, str, int]] = (),
        peers: Sequence[str] = ("PACS1", "ORTHANC"),
        routes: str = "",
        extra: str = "",
        database_url: str = "",
        cache: Path | None = None,
        console: bool = False,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.console_port = free_port() if console else 0
        self.ae_title = "MEDFAKE"
        self.state_dir = folder / "state"
        self.database_url = database_url or f"sqlite:///{self.state_dir / 'medfake.db'}"
        self.config = folder / "node.toml"
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._engine: sa.Engine | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.state_dir.mkdir(exist_ok=True)
        if cache and not (self.state_dir / "cache").exists():
            (self.state_dir / "cache").symlink_to(cache)
        self.config.write_text(self._toml(destinations, peers, routes, extra, database_url))

    def _toml(
        self, destinations: Sequence[tuple[str, str, int]], peers: Sequence[str], routes: str, extra: str, url: str
    ) -> str:
        parts = [f'[node]\nae_title = "{self.ae_title}"\nport = {self.port}\n']
        parts += [f'[database]\nurl = "{url}"\n'] if url else []
        parts += ["[spool]\nmin_free_bytes = 1000000\n"] if "[spool]" not in extra else []
        parts += ["[completion]\nquiet_s = 1.0\n"] if "[completion]" not in extra else []
        if "[console]" not in extra:
            port = f"port = {self.console_port}\n" if self.console_port else "enabled = false\n"
            parts.append(f"[console]\n{port}")
        parts += [extra, "\n"]
        parts += [f'[[peers]]\nae_title = "{title}"\nhosts = ["127.0.0.1"]\n' for title in peers]
        for name, title, port in destinations:
            parts.append(
                f'[[destinations]]\nname = "{name}"\nae_title = "{title}"\nhost = "127.0.0.1"\nport = {port}\n'
                "timeout_s = 5\n[destinations.retry]\nfirst_delay_s = 0.5\nmax_delay_s = 1\n"
            )
        return "".join([*parts, routes])

    @property
    def log_path(self) -> Path:
        """What the node's processes have logged, all starts together."""
        return self.folder / "node.log"

    @property
    def pid(self) -> int:
        """The supervisor's process id; its process group has the same number."""
        assert self._process is not None
        return self._process.pid

    def start(self, environment: Mapping[str, str] | None = None, *, wait: bool = True) -> "NodeProcess":
        """Start the node and wait until its receiver listens (or not, when it is expected to die first)."""
        self._log = self.log_path.open("ab")
        offset = self.log_path.stat().st_size
        self._process = subprocess.Popen(
            [sys.executable, "-m", "medfake_pacs", "serve", "--config", str(self.config)],
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env={**os.environ, "TCP_NODELAY": "1", **(environment or {})},
            start_new_session=True,
        )
        if wait:
            wait_for(lambda: self._listens(offset), _START_TIMEOUT_S, f"the node to listen ({self.log_path})")
        return self

    def _listens(self, offset: int) -> bool:
        if self.is_dead():
            pytest.fail(f"the node ended at once: {self.log_path.read_text(errors='replace')[-2000:]}")
        with self.log_path.open("rb") as log:
            log.seek(offset)
            text = log.read()
        listens = b'"event": "listening"' in text
        return listens and (not self.console_port or b'"event": "console listening"' in text)

    def stop(self) -> int:
        """Ask the node to stop and return its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout=_STOP_TIMEOUT_S)
        finally:
            self.kill()

    def is_listening(self) -> bool:
        """Tell whether something accepts connections on the node's port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def is_dead(self) -> bool:
        """Tell whether the supervisor has ended."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """Kill every process of the node at once, as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def __enter__(self) -> "NodeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def log_lines(self) -> list[dict[str, Any]]:
        """Return every JSON line that the node has logged."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def rows(self, table: str, **where: object) -> list[sa.Row[Any]]:
        """Return the rows of a table whose columns have the given values, in the order of their keys."""
        if self._engine is None:
            self._engine = open_engine(self.database_url)
        found = metadata.tables[table]
        query = sa.select(found).order_by(*found.primary_key.columns)
        for name, value in where.items():
            query = query.where(found.c[name] == value)
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())

    def is_idle(self) -> bool:
        """Tell whether everything that was received is assessed, reported and sent."""
        return not (
            [row for row in self.rows("studies") if row.opened_at is not None]
            or self.rows("revisions", state="completed")
            or self.rows("deliveries", state="waiting")
            or [row for row in self.rows("instances") if row.state != "done"]
        )

    def wait_idle(self, instances_expected: int, timeout_s: float = 60.0) -> None:
        """Wait until ``instances_expected`` rows are there and all their work is done."""
        wait_for(
            lambda: len(self.rows("instances")) >= instances_expected and self.is_idle(),
            timeout_s,
            f"the node to finish {instances_expected} instances ({self.log_path})",
        )

    def peak_memory_bytes(self) -> list[int]:
        """Return the largest resident size that each living process of the node has had."""
        peaks = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                if os.getpgid(int(status.parent.name)) != self.pid:
                    continue
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            except (OSError, ValueError):
                continue
            peaks.append(int(lines["VmHWM"].split()[0]) * 1024)
        return peaks

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a `medfake-pacs` command with this node's configuration."""
        command = [sys.executable, "-m", "medfake_pacs", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=False)
