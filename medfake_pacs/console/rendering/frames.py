"""One frame of an image file, decoded in a child process and kept in memory for the next who looks at it."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medfake_pacs.console.errors import GoneError, InvalidInputError, NotFoundError
from medfake_pacs.console.rendering.reducing import MAX_SIDE_PX, reduced
from medfake_pacs.console.rendering.turns import Turns
from medfake_pacs.console.rendering.windows import Window, first_window, header_window
from medfake_pacs.entities import DecodedFrame, ImageInfo
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import load_raster
from medfake_pacs.workflows.context import Decoders

_KEPT_BYTES = 256 * 2**20
# Each costs a child process with memory of its own.
_DECODERS_AT_A_TIME = 2
# Each costs a few copies of a frame while it is encoded.
_ENCODERS_AT_A_TIME = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSource:
    """Where an image's pixels are; ``digest`` names the content, so that the same file is never decoded twice.

    ``raster`` tells a PNG or JPEG file from a DICOM one.
    """

    path: Path
    digest: str
    raster: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame, (H, W) int16 or float32 in modality units, bright is dense; ``window`` is how it is shown at first.

    ``rows`` and ``columns`` are the image's; ``values`` are means of ``reduction`` by ``reduction`` of its pixels.
    """

    values: npt.NDArray[np.int16] | npt.NDArray[np.float32]
    rows: int
    columns: int
    reduction: int
    units: str
    window: Window
    minimum: float
    maximum: float


class FrameReader:
    """Decodes frames and remembers those used last, up to ``kept_bytes``; safe to share between threads.

    Take a turn before ``read``, and hold it until the frame is encoded: it bounds the memory that is used at once.
    """

    def __init__(self, decoders: Decoders, kept_bytes: int = _KEPT_BYTES) -> None:
        self._decoders = decoders
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[tuple[str, int], Frame] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._decoding = Turns(_DECODERS_AT_A_TIME)
        self._encoding = Turns(_ENCODERS_AT_A_TIME)

    def turn(self, source: FrameSource, number: int, account_id: int) -> AbstractAsyncContextManager[None]:
        """Return what waits for a turn to read a frame and encode it; those that are remembered don't wait long."""
        turns = self._encoding if self._find(source, number) else self._decoding
        return turns.taken(account_id)

    def read(self, source: FrameSource, number: int) -> Frame:
        """Return frame ``number``, counted from 1.

        Raises
        ------
        GoneError
            If the file isn't kept any more.
        NotFoundError
            If the image has fewer frames.
        InvalidInputError
            If it can't be decoded; the text says why.
        """
        # Whoever had the turn before may have decoded it.
        return self._find(source, number) or self._decode(source, number)

    def _find(self, source: FrameSource, number: int) -> Frame | None:
        with self._lock:
            found = self._kept.get((source.digest, number))
            if found is not None:
                self._kept.move_to_end((source.digest, number))
            return found

    def _keep(self, source: FrameSource, number: int, frame: Frame) -> None:
        size = frame.values.nbytes
        if size > self._kept_bytes:
            return
        with self._lock:
            previous = self._kept.pop((source.digest, number), None)
            self._bytes += size - (previous.values.nbytes if previous else 0)
            self._kept[source.digest, number] = frame
            while self._bytes > self._kept_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].values.nbytes

    def _decode(self, source: FrameSource, number: int) -> Frame:
        if not source.path.is_file():
            raise GoneError("The file was deleted; what was found is still on record.")
        try:
            if source.raster:
                info, only = load_raster(source.path)
                return self._take(source, info, iter([only]), number)
            with self._decoders.borrow() as decoder:
                info, frames = decoder.open(source.path)
                return self._take(source, info, frames, number)
        except PixelError as error:
            raise InvalidInputError(f"This image can't be shown: {error}.") from error

    def _take(self, source: FrameSource, info: ImageInfo, frames: Iterator[DecodedFrame], number: int) -> Frame:
        """Return one frame, and keep those around it: they can be had in order only, and are looked at next."""
        if not 1 <= number <= info.number_of_frames:
            raise NotFoundError(f"The image has {info.number_of_frames} frames; there is no frame {number}.")
        declared = None if source.raster else header_window(source.path, info)
        wanted: Frame | None = None
        ahead = 0
        for decoded in frames:
            if wanted is None and decoded.frame_number < number and info.number_of_frames > self._roomy(decoded):
                continue
            frame = _frame(decoded, info, declared)
            self._keep(source, decoded.frame_number, frame)
            if decoded.frame_number == number:
                wanted = frame
            elif wanted is not None:
                ahead += 1
                if ahead >= self._roomy(decoded) // 2:
                    break
        if wanted is None:
            raise InvalidInputError("This image can't be shown: it ends before the frame.")
        return wanted

    def _roomy(self, decoded: DecodedFrame) -> int:
        """Return how many frames like this fit into half of the memory."""
        size = decoded.values.nbytes
        if max(decoded.values.shape) > MAX_SIDE_PX:
            size = min(size, MAX_SIDE_PX**2 * decoded.values.itemsize)
        return self._kept_bytes // (2 * max(1, size))


def _frame(decoded: DecodedFrame, info: ImageInfo, declared: Window | None) -> Frame:
    values = decoded.values
    minimum, maximum = float(values.min()), float(values.max())
    kept, factor = reduced(_compact(values, minimum, maximum), MAX_SIDE_PX)
    return Frame(
        values=kept,
        rows=values.shape[0],
        columns=values.shape[1],
        reduction=factor,
        units=info.units,
        window=first_window(values, minimum, maximum, info, declared),
        minimum=minimum,
        maximum=maximum,
    )


def _compact(values: npt.NDArray[np.float32], minimum: float, maximum: float) -> npt.NDArray[np.int16 | np.float32]:
    """Return the values as int16 where that loses nothing: half the memory, half the transfer."""
    limits = np.iinfo(np.int16)
    if limits.min <= minimum and maximum <= limits.max:
        whole = values.astype(np.int16)
        if np.array_equal(whole, values):
            return whole
    return values
