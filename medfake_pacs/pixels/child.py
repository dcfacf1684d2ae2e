"""The decoder process: ``python -m medfake_pacs.pixels.child``, started by ``DecoderProcess`` and by nothing else.

Reads one request per image from standard input and answers on what was standard output: the image's properties, then
its frames one by one, or the reason why there are none. It ends when its standard input does.
"""

import os
import resource
import signal
import sys
import warnings
from dataclasses import asdict
from typing import Any, BinaryIO

from medfake_pacs.entities import DecodedFrame
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import protocol
from medfake_pacs.pixels.decode import open_image
from medfake_pacs.pixels.library import one_line
from medfake_pacs.pixels.limits import PixelLimits
from medfake_pacs.pixels.raster import is_raster, load_samples, open_raster


def main() -> int:
    """Serve requests until the parent closes the pipe; returns the exit status."""
    # A stop of the whole service must not cost an image: the parent decides, and closes the pipe when it goes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests, replies = _private_pipes()
    warnings.simplefilter("ignore")
    limits = PixelLimits(**_read(requests)["limits"])
    resource.setrlimit(resource.RLIMIT_AS, (limits.max_memory_bytes, limits.max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send(replies, {"kind": "ready"})
    while True:
        try:
            request = _read(requests)
        except EOFError:
            return 0
        try:
            serve = _serve_samples if request.get("samples") else _serve
            serve(request["path"], limits, replies)
        except BrokenPipeError:
            return 0
        except PixelError as error:
            _send(replies, {"kind": "error", "reason": str(error)})
        except MemoryError:
            _send(replies, {"kind": "error", "reason": f"decoding needs more than {limits.max_memory_bytes} bytes"})
        # The boundary: whatever a codec raises is this image's reason, and the next image is served.
        except Exception as error:  # noqa: BLE001
            _send(replies, {"kind": "error", "reason": f"decoding failed: {type(error).__name__}: {one_line(error)}"})


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes, and give codecs that print something a place where it does no harm."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return requests, replies


def _serve(path: str, limits: PixelLimits, replies: BinaryIO) -> None:
    # The parent enforces the limit; the alarm is for the case that the parent is dead. A codec can't ignore it.
    grace_s = int(limits.timeout_s) + 5
    signal.alarm(grace_s)
    try:
        with open_raster(path, limits) if is_raster(path) else open_image(path, limits) as image:
            _send(replies, {"kind": "image", "info": asdict(image.info)})
            for frame in image.frames:
                signal.alarm(0)
                _send_frame(replies, frame)
                signal.alarm(grace_s)
    finally:
        signal.alarm(0)


def _serve_samples(path: str, limits: PixelLimits, replies: BinaryIO) -> None:
    """Send a raster's samples as they are stored, as one frame whose ``type`` is that of the samples."""
    signal.alarm(int(limits.timeout_s) + 5)
    try:
        samples, lossy = load_samples(path, limits)
        head = {"kind": "samples", "type": samples.dtype.str, "shape": samples.shape, "lossy": lossy}
        signal.alarm(0)
        _send(replies, head, memoryview(samples).cast("B"))
    finally:
        signal.alarm(0)


def _send_frame(replies: BinaryIO, frame: DecodedFrame) -> None:
    head = {"kind": "frame", "number": frame.frame_number, "sha256": frame.sha256, "shape": frame.values.shape}
    _send(replies, head, memoryview(frame.values).cast("B"))


def _read(requests: BinaryIO) -> dict[str, Any]:
    head = requests.read(protocol.HEAD.size)
    if len(head) < protocol.HEAD.size:
        raise EOFError
    text = requests.read(protocol.HEAD.unpack(head)[0])
    return protocol.decode(text)


def _send(replies: BinaryIO, message: dict[str, Any], payload: memoryview | None = None) -> None:
    _write(replies, memoryview(protocol.encode(message, len(payload) if payload else 0)))
    if payload:
        _write(replies, payload)


def _write(replies: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[replies.write(data) :]


if __name__ == "__main__":
    sys.exit(main())
