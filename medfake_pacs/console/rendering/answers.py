"""Pictures of frames as answers to requests: what stored images and uploaded ones have in common.

The content never changes under its address, so that a browser may keep it for a while: it alone, and not for long.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.rendering import heatmap, pictures
from medfake_pacs.console.rendering.frames import Frame, FrameReader, FrameSource
from medfake_pacs.console.rendering.pictures import Marks
from medfake_pacs.console.rendering.windows import Window
from medfake_pacs.console.security.known import Identity

CACHE_CONTROL = "private, max-age=300"
_NOT_MODIFIED = 304
_Content = tuple[bytes, Mapping[str, str]]


def frame_png(
    request: Request, reader: FrameReader, source: FrameSource, number: int, low: float | None, high: float | None
) -> Response:
    """Answer with one frame as PNG; ``low`` and ``high`` replace its window.

    Raises
    ------
    InvalidInputError
        If the window is no window, or the image can't be decoded.
    RequestError
        As ``FrameReader.read``.
    """
    window = _window(low, high)
    facts = ("png", source.digest, number, low, high)
    return _answer(request, reader, source, number, facts, lambda frame: (pictures.png(frame, window), {}))


def thumbnail_png(
    request: Request, reader: FrameReader, source: FrameSource, number: int, marks: Marks | None = None
) -> Response:
    """Answer with one frame as a small PNG, with ``marks`` drawn over it; raises as ``frame_png``."""
    return _marked(request, reader, source, number, marks, pictures.THUMBNAIL_PX)


def overlay_png(request: Request, reader: FrameReader, source: FrameSource, number: int, marks: Marks) -> Response:
    """Answer with one frame as PNG, large enough to look at, with ``marks`` drawn over it; raises as ``frame_png``."""
    return _marked(request, reader, source, number, marks, pictures.OVERLAY_PX)


def _marked(
    request: Request, reader: FrameReader, source: FrameSource, number: int, marks: Marks | None, side_px: int
) -> Response:
    facts = ("marked", source.digest, number, marks, side_px)
    return _answer(
        request, reader, source, number, facts, lambda frame: (pictures.thumbnail(frame, marks, side_px), {})
    )


def frame_raw(request: Request, reader: FrameReader, source: FrameSource, number: int) -> Response:
    """Answer with one frame's values (see ``pictures.raw``); raises as ``frame_png``."""

    def make(frame: Frame) -> _Content:
        raw = pictures.raw(frame)
        return raw.content, raw.headers

    return _answer(request, reader, source, number, ("raw", source.digest, number), make, "application/octet-stream")


def heatmap_png(
    request: Request,
    reader: FrameReader,
    source: FrameSource,
    number: int,
    cells: Sequence[Sequence[float]],
    calibration: tuple[float, float],
) -> Response:
    """Answer with a map of cells as PNG, to be laid over a frame; ``calibration`` is (slope, intercept).

    Raises as ``frame_png``.
    """
    facts = ("heatmap", cells, calibration, source.digest, number)

    def make(frame: Frame) -> _Content:
        return heatmap.png(cells, *calibration, frame.columns, frame.rows), {}

    return _answer(request, reader, source, number, facts, make)


class _PictureResponse(Response):
    """A picture that is made when it is sent: its turn is waited for in the event loop, without a thread."""

    def __init__(self, turn: AbstractAsyncContextManager[None], make: Callable[[], _Content], **facts: Any) -> None:
        super().__init__(**facts)
        self._turn = turn
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make the picture and send it, unless nobody waits for it any more."""
        async with self._turn:
            if await Request(scope, receive).is_disconnected():
                raise ClientDisconnect
            content, more = await run_in_threadpool(self._make)
        headers = {name: value for name, value in self.headers.items() if name != "content-length"}
        await Response(content, headers={**headers, **more})(scope, receive, send)


def _answer(
    request: Request,
    reader: FrameReader,
    source: FrameSource,
    number: int,
    facts: tuple[object, ...],
    make: Callable[[Frame], _Content],
    media_type: str = "image/png",
) -> Response:
    tag = f'"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": CACHE_CONTROL}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    identity = request.state.identity
    assert isinstance(identity, Identity)
    turn = reader.turn(source, number, identity.user_id)
    return _PictureResponse(turn, lambda: make(reader.read(source, number)), media_type=media_type, headers=headers)


def _window(low: float | None, high: float | None) -> Window | None:
    if low is None and high is None:
        return None
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidInputError("A window needs a low and a higher high value.", {"low": "must be less than high"})
    return Window(low=low, high=high)
