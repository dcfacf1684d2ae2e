"""From the last image sent to the report stored in Orthanc; memory of the node; seconds to listening."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from medfake_pacs.demo.forgery import with_pixels
from medfake_pacs.demo.reading import read_report
from tests.orthanc import OrthancPeer, running_orthanc
from tests.performance import memory, peers
from tests.performance.figures import Figure
from tests.performance.receive import send
from tests.support import wait_for

_GROUP = "last image sent to report stored in Orthanc"
_MEMORY_GROUP = "peak memory of the node, resident"
_START_GROUP = "start to listening"
QUIET_S = 1.0
_TIMEOUT_S = 600.0
_RADIOGRAPH = "RG3_UNCR.dcm"
_PART = (1350, 600, 400)  # top, left, side in pixels
_AIMS = {"receiver": 150.0, "worker": 2048.0}
_AIM_OF_START_S = 5.0

_ROUTES = """
[completion]
quiet_s = {quiet_s}
[[destinations]]
name = "orthanc"
ae_title = "{ae_title}"
host = "127.0.0.1"
port = {port}
[[routes]]
name = "CT"
modality = ["CT"]
model = "lung-ct"
send_to = ["orthanc"]
[[routes]]
name = "radiograph"
modality = ["CR", "DX"]
model = "knee-xr"
send_to = ["orthanc"]
"""


def measure(folder: Path, slices: Sequence[Path], say: Callable[[str], None]) -> list[Figure]:
    """Return the latency for one radiograph and for a CT series, memory afterwards, and start times."""
    part, whole = _radiographs(folder)
    with running_orthanc(folder / "orthanc") as orthanc:
        routes = _ROUTES.format(quiet_s=QUIET_S, ae_title=orthanc.ae_title, port=orthanc.dicom_port)
        say("starting the node for the first time")
        with peers.node(folder / "node", extra=routes) as first:
            _await_models(folder / "node" / "log")
        with peers.node(folder / "node", extra=routes) as listener:
            _await_models(folder / "node" / "log", times=2)
            say("radiographs")
            small = _latency(orthanc, listener, [part], folder)
            large = _latency(orthanc, listener, [whole], folder)
            say(f"{len(slices)} CT slices")
            many = _latency(orthanc, listener, slices, folder)
            usages = memory.usage_of_tree(listener.process_id)
    return [
        *_latencies("1 radiograph of 400 x 400", small),
        *_latencies("1 radiograph of 1760 x 1760", large),
        *_latencies(f"{len(slices)} CT slices of 512 x 512", many),
        *_memory(usages),
        _start("nothing in the state folder", first.start_s),
        _start("compiled models in the state folder", listener.start_s),
    ]


def _radiographs(folder: Path) -> tuple[Path, Path]:
    """Return a part that the model takes, and the whole radiograph, which may be larger than it takes."""
    folder.mkdir(parents=True, exist_ok=True)
    whole, part = Path(str(get_testdata_file(_RADIOGRAPH, download=False))), folder / "part.dcm"
    dataset = pydicom.dcmread(whole)
    top, left, side = _PART
    pixels = np.ascontiguousarray(dataset.pixel_array[top : top + side, left : left + side])
    with_pixels(dataset, pixels, "A part").save_as(part, enforce_file_format=True)
    return part, whole


def _await_models(log: Path, times: int = 1) -> None:
    wait_for(lambda: log.read_text(errors="replace").count("model ready") >= 2 * times, _TIMEOUT_S, f"models in {log}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Latency:
    """Seconds from the sender's end to the report in Orthanc, what the sender took, and what the report says."""

    total_s: float
    sending_s: float
    said: str


def _latency(orthanc: OrthancPeer, listener: peers.Listener, files: Sequence[Path], folder: Path) -> _Latency:
    study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    sending = send(listener, files, 1)
    sent = time.monotonic()
    wait_for(lambda: orthanc.series_of(study, "SR"), _TIMEOUT_S, f"the report on {study}")
    total = time.monotonic() - sent
    path = folder / "report.dcm"
    path.write_bytes(orthanc.reports_of(study)[0])
    reading = read_report(path, study)
    said = f"{reading.verdict} ({shorten(reading.reason, 60)})" if reading.reason else reading.verdict
    return _Latency(total_s=total, sending_s=sending, said=said)


def _latencies(name: str, measured: _Latency) -> list[Figure]:
    without = measured.total_s - QUIET_S
    one = name.startswith("1 ")
    note = f"with {QUIET_S:g} s quiet time; sending took {measured.sending_s:.2f} s; verdict: {measured.said}"
    return [
        Figure(group=_GROUP, name=name, value=measured.total_s, unit="s", note=note),
        Figure(group=_GROUP, name=f"{name}, without quiet time", value=without, unit="s",
               aim="below 1 s" if one else "", reached=without < 1 if one else None),
    ]  # fmt: skip


def _memory(usages: list[memory.Usage]) -> list[Figure]:
    figures = []
    for role, word in (("receiver", "receiver"), ("worker", "worker"), ("decoder", "pixels.child")):
        peak, aim = memory.peak_of(usages, word), _AIMS.get(role)
        figures.append(
            Figure(
                group=_MEMORY_GROUP,
                name=role,
                value=peak,
                unit="MiB",
                aim=f"below {aim:g}" if aim else "",
                reached=0 < peak < aim if aim else None,
            )
        )
    return figures


def _start(name: str, seconds: float) -> Figure:
    return Figure(group=_START_GROUP, name=name, value=seconds, unit="s",
                  aim=f"below {_AIM_OF_START_S:g}", reached=seconds < _AIM_OF_START_S)  # fmt: skip
