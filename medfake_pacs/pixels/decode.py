"""An image file's frames, one at a time, in the calling process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medfake_pacs.entities import DecodedFrame, ImageInfo
from medfake_pacs.pixels.codecs import stored_frames
from medfake_pacs.pixels.digest import frame_digest
from medfake_pacs.pixels.header import check_length, image_info, read_pixel_module, supported_syntax
from medfake_pacs.pixels.limits import PixelLimits
from medfake_pacs.pixels.modality import read_modality
from medfake_pacs.pixels.source import open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImage:
    """An image whose header is read and whose frames are still in the file."""

    info: ImageInfo
    frames: Iterator[DecodedFrame]


@contextmanager
def open_image(path: Path | str, limits: PixelLimits) -> Iterator[OpenImage]:
    """Open an image; its frames can be taken as long as the context lasts.

    Raises
    ------
    PixelError
        The header forbids decoding; from ``frames`` too, when a frame can't be had.
    """
    with open_source(path, limits) as source:
        syntax = supported_syntax(source)
        module = read_pixel_module(source, limits)
        if not syntax.encapsulated:
            check_length(source, module)
        modality = read_modality(source.dataset, module)

        def frames() -> Iterator[DecodedFrame]:
            for index, (stored, photometric) in enumerate(stored_frames(source, syntax, module)):
                yield DecodedFrame(
                    frame_number=index + 1,
                    values=modality.grey(stored, photometric, index),
                    sha256=frame_digest(stored, photometric, modality.fingerprint(index)),
                )

        yield OpenImage(info=image_info(source, syntax, module, modality.units), frames=frames())


def inspect(path: Path | str, limits: PixelLimits) -> ImageInfo:
    """Return what the header says of an image, checked against the limits and the size of the file.

    Raises
    ------
    PixelError
        The image can't be decoded; the text says why.
    """
    with open_image(path, limits) as image:
        return image.info


def decode_frames(path: Path | str, limits: PixelLimits) -> Iterator[DecodedFrame]:
    """Yield an image's frames in modality units, in this process: no bound on time, nor against a codec's crash.

    Raises
    ------
    PixelError
        At the first frame that can't be had; the text says why.
    """
    with open_image(path, limits) as image:
        yield from image.frames
