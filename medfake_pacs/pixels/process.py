"""Decoding in a child process, so that a codec's crash, hang or hunger costs one image and not the node."""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

import medfake_pacs
from medfake_pacs.entities import DecodedFrame, ImageInfo
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import protocol
from medfake_pacs.pixels.limits import PixelLimits

_PIPE_BYTES = 1 << 20
_START_TIMEOUT_S = 60.0
_KEPT_BYTES = str(32 << 20)
_END_TIMEOUT_S = 2.0


class DecoderProcess:
    """A decoder that lives in a child process and is started again whenever it has died.

    One image at a time: opening the next ends the previous one's frames. Safe to share between threads as far as
    no call corrupts another, but an image's frames belong to whoever opened the last image; use one per thread.
    """

    def __init__(self, limits: PixelLimits) -> None:
        self._limits = limits
        self._lock = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None
        self._turn = 0
        self._frames_due = 0
        self._doing = ""
        self._allowed_s = self._time_left_s = 0.0

    def open(self, path: Path | str) -> tuple[ImageInfo, Iterator[DecodedFrame]]:
        """Return the properties and frames of a DICOM, PNG or JPEG file; frames are decoded while they are taken.

        ``timeout_s`` of the limits bounds the time that the caller waits for the image, all frames together; the
        time that it spends on a frame doesn't count.

        Raises
        ------
        PixelError
            The image can't be decoded, from here or from the iterator; the next call works again.
        """
        with self._lock:
            if self._frames_due:
                self._kill()
            self._turn += 1
            self._ensure_child()
            self._frames_due = 1
            self._allow(self._limits.timeout_s, "decoding")
            self._request(os.path.abspath(path))
            message, _ = self._reply("image")
            info = ImageInfo(**message["info"])
            self._frames_due = info.number_of_frames
            return info, self._frames(self._turn)

    def samples(self, path: Path | str) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], bool]:
        """Return a PNG's or JPEG's samples as stored, (H, W) or (H, W, 3), and whether compression lost some.

        Raises
        ------
        PixelError
            The image can't be decoded; the next call works again.
        """
        with self._lock:
            if self._frames_due:
                self._kill()
            self._turn += 1
            self._ensure_child()
            self._allow(self._limits.timeout_s, "decoding")
            self._request(os.path.abspath(path), samples=True)
            message, payload = self._reply("samples")
            return payload.view(np.dtype(message["type"])).reshape(message["shape"]), bool(message["lossy"])

    def close(self) -> None:
        """End the child process; another ``open`` starts a new one."""
        with self._lock:
            self._turn += 1
            child, self._child = self._child, None
            self._frames_due = 0
            if child is not None:
                _end(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Return the child's process id, None while there is no child."""
        child = self._child
        return child.pid if child is not None else None

    def _frames(self, turn: int) -> Iterator[DecodedFrame]:
        while True:
            with self._lock:
                if turn != self._turn:
                    raise PixelError("the decoder was closed or given another image")
                if not self._frames_due:
                    return
                message, payload = self._reply("frame")
                self._frames_due -= 1
            values = payload.view(np.float32).reshape(message["shape"])
            yield DecodedFrame(frame_number=message["number"], values=values, sha256=message["sha256"])

    def _ensure_child(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._kill()
        if self._child is None:
            # A busy machine may be slow to start it; no image's time is spent on that.
            self._allow(_START_TIMEOUT_S, "starting the decoder")
            try:
                self._child = _start(self._limits)
            except OSError as error:
                raise PixelError(f"the decoder process can't be started: {error.strerror}") from error
            self._reply("ready")

    def _allow(self, allowed_s: float, doing: str) -> None:
        self._doing = doing
        self._allowed_s = self._time_left_s = allowed_s

    def _request(self, path: str, *, samples: bool = False) -> None:
        assert self._child is not None
        try:
            _write(self._child, protocol.encode({"path": path, "samples": samples}))
        except BrokenPipeError:
            self._fail_crashed()

    def _reply(self, kind: str) -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        """Return the child's next message, which must be of ``kind``; an error becomes the image's PixelError."""
        size, payload_size = protocol.HEAD.unpack(self._receive(protocol.HEAD.size))
        if size > protocol.MAX_TEXT_BYTES or payload_size > 4 * self._limits.max_pixels_per_frame:
            self._fail_nonsense()
        try:
            message = protocol.decode(self._receive(size).tobytes())
        except ValueError:
            self._fail_nonsense()
        if message.get("kind") == "error":
            self._frames_due = 0
            raise PixelError(message["reason"])
        if message.get("kind") != kind:
            self._fail_nonsense()
        return message, self._receive(payload_size)

    def _receive(self, size: int) -> npt.NDArray[np.uint8]:
        assert self._child is not None
        assert self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        data = np.empty(size, dtype=np.uint8)
        view = memoryview(data)
        while view:
            started = time.monotonic()
            ready = poller.poll(max(0, self._time_left_s) * 1000)
            self._time_left_s -= time.monotonic() - started
            if not ready:
                self._kill()
                raise PixelError(f"{self._doing} took longer than {self._allowed_s:g} s")
            count = os.readv(descriptor, [view])
            if not count:
                self._fail_crashed()
            view = view[count:]
        return data

    def _fail_nonsense(self) -> NoReturn:
        self._kill()
        raise PixelError("the decoder process broke the protocol")

    def _fail_crashed(self) -> NoReturn:
        child, self._child = self._child, None
        self._frames_due = 0
        assert child is not None
        status = _end(child)
        what = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise PixelError(f"decoder crashed ({what}) while {self._doing}")

    def _kill(self) -> None:
        child, self._child = self._child, None
        self._frames_due = 0
        if child is not None:
            child.kill()
            _end(child)


def _start(limits: PixelLimits) -> subprocess.Popen[bytes]:
    root = str(Path(medfake_pacs.__file__).resolve().parent.parent)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH", ""))))
    # Thread pools reserve address space per thread, which counts against the child's limit; one frame needs none.
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    # Frames are allocated and freed all the time: keep their pages instead of having the kernel clear new ones.
    environment |= {"MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES, "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES}
    child = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-m", "medfake_pacs.pixels.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        bufsize=0,
    )
    assert child.stdout is not None
    with contextlib.suppress(OSError):  # the user's pipe quota may be used up: slower, nothing else
        fcntl.fcntl(child.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        _write(child, protocol.encode({"limits": asdict(limits)}))
    except OSError:
        child.kill()
        _end(child)
        raise
    return child


def _write(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin is not None
    view = memoryview(data)
    while view:
        view = view[child.stdin.write(view) :]


def _end(child: subprocess.Popen[bytes]) -> int:
    """Close the pipes, wait for the child, kill it when it doesn't go by itself; return its status."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    try:
        return child.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
