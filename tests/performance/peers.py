"""The receivers that are measured: each is started anew for one repetition, on the same disk."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.orthanc import running_orthanc
from tests.support import free_port, wait_for

PDU_BYTES = 131_072
NODE_AE_TITLE = "MEDFAKE"
SENDER_AE_TITLE = "BENCH"
_START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A process that takes C-STORE; ``start_s`` is from its start until the port took a connection."""

    ae_title: str
    port: int
    process_id: int
    start_s: float


def _takes_connections(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    command: Sequence[str], ae_title: str, port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Listener]:
    """Run a command until the block ends; enter it when ``port`` takes connections."""
    with log.open("ab") as stream:
        started = time.monotonic()
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            env=os.environ | {"TCP_NODELAY": "1"} | dict(environment or {}),
        )  # fmt: skip
        try:
            wait_for(
                lambda: process.poll() is not None or _takes_connections(port),
                _START_TIMEOUT_S, f"port {port} of {command[0]}; see {log}",
            )  # fmt: skip
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with status {process.returncode}; see {log}")
            elapsed = time.monotonic() - started
            yield Listener(ae_title=ae_title, port=port, process_id=process.pid, start_s=elapsed)
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
        return
    process.kill()
    process.wait()


@contextmanager
def storescp(folder: Path) -> Iterator[Listener]:
    """DCMTK's storescp: one process for each association, data written as received, nothing synced."""
    port = free_port()
    target = folder / "received"
    target.mkdir(parents=True)
    command = ["/usr/bin/storescp", "--fork", "--bit-preserving", "--max-pdu", str(PDU_BYTES)]
    command += ["--output-directory", str(target), str(port)]
    with running(command, "STORESCP", port, folder / "log") as listener:
        yield listener


@contextmanager
def orthanc(folder: Path) -> Iterator[Listener]:
    """Debian's Orthanc as it comes: SQLite, data synced to disk."""
    with running_orthanc(folder, configuration={"MaximumPduLength": PDU_BYTES}) as peer:
        yield Listener(ae_title=peer.ae_title, port=peer.dicom_port, process_id=0, start_s=0.0)


@contextmanager
def node(folder: Path, *, extra: str = "") -> Iterator[Listener]:
    """The whole node with SQLite; ``extra`` is more TOML, such as destinations and routes."""
    port, command = _configured(folder, extra)
    with running(command, NODE_AE_TITLE, port, folder / "log") as listener:
        yield listener


@contextmanager
def receivers(folder: Path, *, count: int = 1) -> Iterator[Listener]:
    """The node's receivers alone, ``count`` processes on one port."""
    port, command = _configured(folder, "", receivers=count)
    with ExitStack() as stack:
        for index in range(count):
            log = folder / f"log-{index}"
            only = [*command, "--only", "receiver", "--index", str(index)]
            listener = stack.enter_context(running(only, NODE_AE_TITLE, port, log))
            wait_for(lambda path=log: '"listening"' in path.read_text(), _START_TIMEOUT_S, f"receiver {index}")
        yield listener


def _configured(folder: Path, extra: str, *, receivers: int = 1) -> tuple[int, list[str]]:
    """Write a configuration; return the port in it and the command that serves it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = folder / "medfake.toml"
    # A node that is measured must not open a console on a fixed port.
    console = "" if "[console]" in extra else "[console]\nenabled = false\n"
    configuration.write_text(
        f'[node]\nae_title = "{NODE_AE_TITLE}"\nport = {port}\nreceivers = {receivers}\n'
        f"[association]\nmax_pdu_bytes = {PDU_BYTES}\n[spool]\nmin_free_bytes = 100_000_000\n{console}"
        f'[[peers]]\nae_title = "{SENDER_AE_TITLE}"\nhosts = ["127.0.0.1"]\n{extra}',
        encoding="utf-8",
    )
    return port, [str(Path(sys.executable).parent / "medfake-pacs"), "serve", "--config", str(configuration)]
