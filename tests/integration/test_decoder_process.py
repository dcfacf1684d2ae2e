"""The decoder process: bounded in time and memory, survives what kills a codec, ends with its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import DecoderProcess, inspect
from tests.support import REPOSITORY, need_data, wait_for
from tests.unit.pixels_support import LIMITS, dataset, frames_of, ramp, write


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    with DecoderProcess(LIMITS) as process:
        yield process


def _status(pid: int, key: str) -> int:
    """Return a figure of /proc/PID/status in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_frames_are_those_of_the_calling_process(decoder: DecoderProcess, tmp_path: Path) -> None:
    stored = np.random.default_rng(5).integers(-1000, 1000, (3, 40, 30)).astype("<i2")
    path = write(dataset(stored, frames=3, RescaleSlope=2, RescaleIntercept=-10), tmp_path / "image.dcm")
    info, frames = decoder.open(path)
    got, expected = list(frames), frames_of(path)
    assert info == inspect(path, LIMITS)
    assert [(frame.frame_number, frame.sha256) for frame in got] == [(f.frame_number, f.sha256) for f in expected]
    assert all(np.array_equal(one.values, two.values) for one, two in zip(got, expected, strict=True))


def test_an_image_that_cannot_be_decoded_costs_no_process(decoder: DecoderProcess, tmp_path: Path) -> None:
    good, bad = write(dataset(ramp()), tmp_path / "good.dcm"), tmp_path / "bad.dcm"
    bad.write_bytes(good.read_bytes()[:-10])
    list(decoder.open(good)[1])
    pid = decoder.pid
    with pytest.raises(PixelError, match="truncated pixel data: 86 of 96 bytes"):
        decoder.open(bad)
    assert len(list(decoder.open(good)[1])) == 1
    assert decoder.pid == pid


def test_a_hang_ends_at_the_timeout_and_the_next_image_is_decoded(tmp_path: Path) -> None:
    good, hang = write(dataset(ramp()), tmp_path / "good.dcm"), tmp_path / "pipe.dcm"
    os.mkfifo(hang)
    with DecoderProcess(replace(LIMITS, timeout_s=3.0)) as decoder:
        list(decoder.open(good)[1])
        hung = decoder.pid
        started = time.monotonic()
        with pytest.raises(PixelError, match="decoding took longer than 3 s"):
            decoder.open(hang)
        assert time.monotonic() - started < 13
        assert hung is not None
        assert _gone(hung)
        assert len(list(decoder.open(good)[1])) == 1


def test_a_codec_that_aborts_costs_one_image(decoder: DecoderProcess, tmp_path: Path) -> None:
    """GDCM calls abort() where the JFIF segment claims a major version that it does not know."""
    name = "CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm"
    good = need_data("dicom_conformance") / "cornerstone3D" / name
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(good.read_bytes().replace(b"JFIF\0\1", b"JFIF\0\x80", 1))
    with pytest.raises(PixelError, match=r"decoder crashed \(SIGABRT\) while decoding"):
        list(decoder.open(bad)[1])
    assert len(list(decoder.open(good)[1])) == 1


def test_a_codestream_on_which_charls_loops_is_refused_at_once(decoder: DecoderProcess, tmp_path: Path) -> None:
    good = (need_data("dicom_conformance") / "pydicom" / "JPEGLSNearLossless_16.dcm").read_bytes()
    damaged = bytearray(good)
    damaged[704], damaged[729] = 0x7F, 0x00
    (tmp_path / "loop.dcm").write_bytes(damaged)
    with pytest.raises(PixelError, match="truncated codestream: it has no end marker"):
        list(decoder.open(tmp_path / "loop.dcm")[1])


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_a_reason_and_the_next_image_is_decoded(tmp_path: Path, number: signal.Signals) -> None:
    good, hang = write(dataset(ramp()), tmp_path / "good.dcm"), tmp_path / "pipe.dcm"
    os.mkfifo(hang)
    with DecoderProcess(LIMITS) as decoder:
        list(decoder.open(good)[1])
        victim = decoder.pid
        assert victim is not None
        killer = threading.Thread(target=_kill_when_reading, args=(victim, number, hang))
        killer.start()
        with pytest.raises(PixelError, match=rf"decoder crashed \({number.name}\)"):
            decoder.open(hang)
        killer.join()
        assert len(list(decoder.open(good)[1])) == 1
        assert decoder.pid != victim


def _kill_when_reading(pid: int, number: signal.Signals, pipe: Path) -> None:
    """Kill the child once it reads the pipe, which gives nothing: that stands for a codec at work."""
    writer = wait_for(lambda: _writer(pipe), 10, "the child to open the pipe")
    os.kill(pid, number)
    wait_for(lambda: _gone(pid), 10, "the child's end")
    os.close(writer)


def _writer(pipe: Path) -> int:
    """Return a descriptor of the pipe's writing end, 0 as long as nobody reads."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def test_a_child_killed_while_idle_is_replaced(decoder: DecoderProcess, tmp_path: Path) -> None:
    path = write(dataset(ramp()), tmp_path / "image.dcm")
    list(decoder.open(path)[1])
    victim = decoder.pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: _gone(victim), 5, "the child's end")
    assert len(list(decoder.open(path)[1])) == 1


def test_frames_left_untaken_do_not_reach_the_next_image(decoder: DecoderProcess, tmp_path: Path) -> None:
    many = write(dataset(np.stack([ramp()] * 50), frames=50), tmp_path / "many.dcm")
    other = write(dataset(ramp() + 1), tmp_path / "other.dcm")
    _, stale = decoder.open(many)
    next(stale)
    _, frames = decoder.open(other)
    assert [frame.values[0, 0] for frame in frames] == [1]
    with pytest.raises(PixelError, match="given another image"):
        next(stale)


def test_last_frame_taken_by_next_keeps_the_child(decoder: DecoderProcess, tmp_path: Path) -> None:
    path = write(dataset(ramp()), tmp_path / "image.dcm")
    next(decoder.open(path)[1])
    pid = decoder.pid
    next(decoder.open(path)[1])
    assert decoder.pid == pid


def test_memory_is_bounded(tmp_path: Path) -> None:
    image = dataset(np.zeros((2, 2), dtype="<u2"), Rows=8000, Columns=8000)
    path = write(image, tmp_path / "large.dcm")
    with path.open("r+b") as file:
        offset = path.read_bytes().rindex(b"OW\0\0") + 4
        file.seek(offset)
        file.write((8000 * 8000 * 2).to_bytes(4, "little"))
        file.truncate(offset + 4 + 8000 * 8000 * 2)
    with DecoderProcess(replace(LIMITS, max_memory_bytes=400 << 20)) as decoder:
        with pytest.raises(PixelError, match=r"memory|more than"):
            list(decoder.open(path)[1])
        assert len(list(decoder.open(write(dataset(ramp()), tmp_path / "small.dcm"))[1])) == 1
    with DecoderProcess(LIMITS) as decoder:
        assert len(list(decoder.open(path)[1])) == 1


def test_thousands_of_frames_need_the_memory_of_a_few(decoder: DecoderProcess, tmp_path: Path) -> None:
    frames = 8000
    image = dataset(np.zeros((frames, 64, 64), dtype="<u2"), frames=frames)
    groups = []
    for index in range(frames):
        macro, group = Dataset(), Dataset()
        macro.RescaleSlope, macro.RescaleIntercept = 1, index
        group.PixelValueTransformationSequence = [macro]
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = groups
    path = write(image, tmp_path / "long.dcm")
    _, taken = decoder.open(path)
    assert next(taken).frame_number == 1
    assert decoder.pid is not None
    before = _status(decoder.pid, "VmHWM")
    (last,) = deque(taken, maxlen=1)
    assert (last.frame_number, last.values[0, 0]) == (frames, frames - 1)
    assert _status(decoder.pid, "VmHWM") - before < 8 << 10
    assert _status(decoder.pid, "VmHWM") < 512 << 10


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    path = write(dataset(ramp()), tmp_path / "image.dcm")
    script = (
        "import sys, time\nfrom medfake_pacs.pixels import DecoderProcess, PixelLimits\n"
        f"decoder = DecoderProcess(PixelLimits(**{ {name: getattr(LIMITS, name) for name in LIMITS.__slots__} }))\n"
        f"list(decoder.open({str(path)!r})[1])\nprint(decoder.pid, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not _gone(child)
        parent.kill()
    wait_for(lambda: _gone(child), 10, "the child's end")


def test_nothing_is_left_open(tmp_path: Path) -> None:
    path = write(dataset(ramp()), tmp_path / "image.dcm")
    before = len(os.listdir("/proc/self/fd"))
    with DecoderProcess(LIMITS) as decoder:
        list(decoder.open(path)[1])
        child = decoder.pid
        assert child is not None
    assert len(os.listdir("/proc/self/fd")) == before
    assert not Path(f"/proc/{child}").exists()


def test_interrupt_and_termination_of_the_group_cost_no_image(decoder: DecoderProcess, tmp_path: Path) -> None:
    path = write(dataset(ramp()), tmp_path / "image.dcm")
    list(decoder.open(path)[1])
    child = decoder.pid
    assert child is not None
    os.kill(child, signal.SIGINT)
    os.kill(child, signal.SIGTERM)
    assert len(list(decoder.open(path)[1])) == 1
    assert decoder.pid == child


@pytest.fixture(scope="module")
def shared() -> Iterator[DecoderProcess]:
    with DecoderProcess(LIMITS) as process:
        yield process


@pytest.fixture(scope="module")
def valid_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return small valid files of several transfer syntaxes, those of GDCM's JPEG from the conformance folder."""
    folder = tmp_path_factory.mktemp("valid")
    stored = np.random.default_rng(2).integers(0, 4096, (64, 64)).astype("<u2")
    plain = write(dataset(stored, BitsStored=12, HighBit=11), folder / "plain.dcm", ExplicitVRLittleEndian)
    files = [plain.read_bytes()]
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        image = dcmread(plain)
        image.compress(syntax, generate_instance_uid=False)
        image.save_as(folder / "compressed.dcm")
        files.append((folder / "compressed.dcm").read_bytes())
    samples = need_data("dicom_conformance") / "pydicom"
    names = ("SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm", "examples_palette.dcm", "image_dfl.dcm")
    files += [(samples / name).read_bytes() for name in names if (samples / name).exists()]
    assert len(files) >= 6
    return files


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_frames_or_a_reason(
    data: st.DataObject, shared: DecoderProcess, valid_files: list[bytes], tmp_path: Path
) -> None:
    damaged = bytearray(data.draw(st.sampled_from(valid_files)))
    for _ in range(data.draw(st.integers(0, 6))):
        # Mostly near the start, where the header and the codestream's own headers are.
        reach = data.draw(st.sampled_from((400, 1200, len(damaged))))
        position = data.draw(st.integers(128, min(reach, len(damaged)) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    path = tmp_path / "damaged.dcm"
    path.write_bytes(damaged)
    said = _shapes_or_reason(shared, path)
    assert said.isprintable()
    assert said


def _shapes_or_reason(decoder: DecoderProcess, path: Path) -> str:
    """Return the frames' shape or the reason why there are none; any other exception fails the test."""
    try:
        info, frames = decoder.open(path)
        assert {frame.values.shape for frame in frames} == {(info.rows, info.columns)}
    except PixelError as error:
        return str(error)
    return f"{info.columns} x {info.rows}"
