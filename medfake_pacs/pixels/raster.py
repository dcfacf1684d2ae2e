"""Images that aren't DICOM: PNG and JPEG files, for the command line and for training."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from medfake_pacs.entities import DecodedFrame, ImageInfo
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.decode import OpenImage
from medfake_pacs.pixels.digest import frame_digest
from medfake_pacs.pixels.library import LIBRARY_ERRORS, one_line
from medfake_pacs.pixels.limits import PixelLimits

_FORMATS = ("PNG", "JPEG")
_GREY_MODES = {"1": 1, "L": 8, "I;16": 16, "I;16B": 16, "I": 16, "F": 32}
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
_PART_10_PREFIX = slice(128, 132)


def is_raster(path: Path | str) -> bool:
    """Tell by its first bytes whether a file is PNG or JPEG; a DICOM file may begin with anything (PS3.10 7.1)."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(_PART_10_PREFIX.stop)
    except OSError:
        return False
    return start.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)) and start[_PART_10_PREFIX] != b"DICM"


@contextmanager
def open_raster(path: Path | str, limits: PixelLimits) -> Iterator[OpenImage]:
    """Open a PNG or JPEG file like a DICOM image of one frame; see ``load_raster``.

    Raises
    ------
    PixelError
        As ``load_raster``, or larger than the limits.
    """
    _check_size(path, limits)
    info, frame = load_raster(path)
    yield OpenImage(info=info, frames=iter([frame]))


def load_samples(path: Path | str, limits: PixelLimits) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], bool]:
    """Return a raster's samples as stored, (H, W) grey or (H, W, 3) RGB, and whether compression lost some.

    Black and white becomes 0 and 255; transparency is ignored.

    Raises
    ------
    PixelError
        As ``open_raster``.
    """
    _check_size(path, limits)
    kind, bits, stored = _read(path)
    if bits == 1:
        return stored * np.uint8(255), False
    if stored.dtype.kind != "u":
        return np.clip(stored, 0, 65535).astype("<u2"), False
    return stored, kind == "JPEG"


def _check_size(path: Path | str, limits: PixelLimits) -> None:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            pixels = image.width * image.height
    except (MemoryError, Image.DecompressionBombError, *LIBRARY_ERRORS):
        return
    if pixels > limits.max_pixels_per_frame:
        raise PixelError(f"image too large: {pixels} pixels, at most {limits.max_pixels_per_frame} are decoded")


def load_raster(path: Path | str) -> tuple[ImageInfo, DecodedFrame]:
    """Read a PNG or JPEG file as one grey frame, (H, W) float32 in the file's own range (0 to 255 or 0 to 65535).

    Colour becomes luminance (ITU-R BT.601); transparency is ignored.

    Raises
    ------
    PixelError
        Not a PNG or JPEG, damaged, or larger than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    kind, bits, stored = _read(path)
    photometric = "MONOCHROME2" if stored.ndim == 2 else "RGB"
    values = stored.astype(np.float32) if stored.ndim == 2 else np.asarray(stored @ _LUMA, dtype=np.float32)
    info = ImageInfo(
        rows=stored.shape[0],
        columns=stored.shape[1],
        number_of_frames=1,
        bits_stored=bits,
        photometric_interpretation=photometric,
        transfer_syntax_uid="",
        decoder=f"pillow {_pillow_version()}",
        lossy=kind == "JPEG",
        units="",
    )
    return info, DecodedFrame(frame_number=1, values=values, sha256=frame_digest(stored, photometric, "raster"))


def _read(path: Path | str) -> tuple[str, int, npt.NDArray[Any]]:
    """Return format, bits and samples of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                return str(image.format), _GREY_MODES.get(image.mode, 8), _samples(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PixelError(f"image too large: more than {Image.MAX_IMAGE_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        raise PixelError("neither a PNG nor a JPEG file") from error
    except (MemoryError, *LIBRARY_ERRORS) as error:
        raise PixelError(f"the image can't be read: {one_line(error)}") from error


def _samples(image: Image.Image) -> npt.NDArray[Any]:
    if image.mode not in _GREY_MODES:
        image = image.convert("L") if image.mode == "LA" else image.convert("RGB")
    stored = np.asarray(image)
    if image.mode == "1":
        stored = stored.astype(np.uint8)
    if image.mode == "I":
        stored = stored.astype(np.int32)
    return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("<"))


def _pillow_version() -> str:
    from PIL import __version__

    return __version__
