"""Durable receive: objects a second from the same sender, beside Orthanc and DCMTK's storescp."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.performance import memory, peers
from tests.performance.figures import Figure
from tests.performance.peers import Listener

STORESCU = "/usr/bin/storescu"
_SEND_TIMEOUT_S = 300.0
Opener = Callable[[Path], AbstractContextManager[Listener]]

_GROUP = "durable receive, CT slices of 512 KB"


def send(listener: Listener, files: Sequence[Path], associations: int) -> float:
    """Send the files by as many storescu at once, a part each; return the seconds from first start to last end."""
    command = [STORESCU, "--propose-little", "--required", "-aet", peers.SENDER_AE_TITLE, "-aec", listener.ae_title]
    command += ["--max-send-pdu", str(peers.PDU_BYTES), "127.0.0.1", str(listener.port)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    started = time.monotonic()
    senders = [
        subprocess.Popen([*command, *map(str, files[part::associations])], env=environment)
        for part in range(associations)
    ]
    statuses = [sender.wait(_SEND_TIMEOUT_S) for sender in senders]
    elapsed = time.monotonic() - started
    if any(statuses):
        raise RuntimeError(f"storescu ended with {statuses} sending to {listener.ae_title}")
    return elapsed


def measure(folder: Path, files: Sequence[Path], repetitions: int, say: Callable[[str], None]) -> list[Figure]:
    """Return the rates of every receiver with one and with four associations, and the node's ratios to them."""
    receivers: dict[str, Opener] = {
        "Orthanc, synced": peers.orthanc,
        "DCMTK storescp, not synced": peers.storescp,
        "node, synced": peers.receivers,
    }
    figures = []
    for associations in (1, 4):
        if associations > 1:
            receivers["node, synced, 2 receivers"] = partial(peers.receivers, count=2)
        runs: dict[str, list[_Run]] = {name: [] for name in receivers}
        for repetition in range(repetitions):
            for name, opener in receivers.items():
                say(f"{name}, {associations} association(s), repetition {repetition + 1}")
                runs[name].append(_run(opener, folder, files, associations))
        figures += _figures(runs, associations)
    return figures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One repetition: objects a second, and the receiver's peak memory in MiB where its process is known."""

    rate: float
    peak_mib: float


def _run(opener: Opener, folder: Path, files: Sequence[Path], associations: int) -> _Run:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()
    with opener(folder / "peer") as listener:
        elapsed = send(listener, files, associations)
        peak = memory.peak_of(memory.usage_of_tree(listener.process_id), "receiver") if listener.process_id else 0.0
    shutil.rmtree(folder, ignore_errors=True)
    return _Run(rate=len(files) / elapsed, peak_mib=peak)


def _figures(runs: dict[str, list[_Run]], associations: int) -> list[Figure]:
    group = f"{_GROUP}, {associations} association{'s' if associations > 1 else ''}"
    medians = {name: statistics.median(run.rate for run in done) for name, done in runs.items()}
    figures = []
    for name, done in runs.items():
        peak = max(run.peak_mib for run in done)
        note = f"a receiver's peak memory {peak:.0f} MiB" if peak else ""
        samples = tuple(run.rate for run in done)
        figures.append(
            Figure(group=group, name=name, value=medians[name], unit="objects/s", note=note, samples=samples)
        )
    best = max((name for name in medians if name.startswith("node")), key=medians.__getitem__)
    for other, aim in (("Orthanc, synced", 1.0), ("DCMTK storescp, not synced", 1.0 if associations > 1 else 0.0)):
        ratio = medians[best] / medians[other]
        figures.append(
            Figure(
                group=group,
                name=f"{best} / {other}",
                value=ratio,
                unit="ratio",
                aim=f"at least {aim:g}" if aim else "",
                reached=ratio >= aim if aim else None,
            )
        )
    return figures
