"""Pictures of frames as answers to requests: what stored images and uploaded ones have in common.

The content never changes under its address, so that a browser may keep it for a while: it alone, and not for long.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

from fastapi import Request, Response

from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.rendering import heatmap, pictures
from medfake_pacs.console.rendering.frames import FrameReader, FrameSource
from medfake_pacs.console.rendering.pictures import Marks
from medfake_pacs.console.rendering.windows import Window

CACHE_CONTROL = "private, max-age=300"
_NOT_MODIFIED = 304


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
    return _answer(request, facts, "image/png", lambda: (pictures.png(reader.read(source, number), window), {}))


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
        request, facts, "image/png", lambda: (pictures.thumbnail(reader.read(source, number), marks, side_px), {})
    )


def frame_raw(request: Request, reader: FrameReader, source: FrameSource, number: int) -> Response:
    """Answer with one frame's values (see ``pictures.raw``); raises as ``frame_png``."""

    def make() -> tuple[bytes, Mapping[str, str]]:
        raw = pictures.raw(reader.read(source, number))
        return raw.content, raw.headers

    return _answer(request, ("raw", source.digest, number), "application/octet-stream", make)


def heatmap_png(
    request: Request, cells: Sequence[Sequence[float]], calibration: tuple[float, float], size: tuple[int, int]
) -> Response:
    """Answer with a map of cells as PNG; ``calibration`` is (slope, intercept), ``size`` (columns, rows)."""
    facts = ("heatmap", cells, calibration, size)
    return _answer(request, facts, "image/png", lambda: (heatmap.png(cells, *calibration, *size), {}))


def _answer(
    request: Request, facts: tuple[object, ...], media_type: str, make: Callable[[], tuple[bytes, Mapping[str, str]]]
) -> Response:
    tag = f'"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": CACHE_CONTROL}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    content, more = make()
    return Response(content, media_type=media_type, headers={**headers, **more})


def _window(low: float | None, high: float | None) -> Window | None:
    if low is None and high is None:
        return None
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidInputError("A window needs a low and a higher high value.", {"low": "must be less than high"})
    return Window(low=low, high=high)
