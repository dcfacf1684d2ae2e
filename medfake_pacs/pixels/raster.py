"""Images that aren't DICOM: PNG and JPEG files, for the command line and for training."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from medfake_pacs.entities import DecodedFrame, ImageInfo
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.digest import frame_digest
from medfake_pacs.pixels.library import LIBRARY_ERRORS, one_line

_FORMATS = ("PNG", "JPEG")
_GREY_MODES = {"1": 1, "L": 8, "I;16": 16, "I;16B": 16, "I": 16, "F": 32}
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def load_raster(path: Path | str) -> tuple[ImageInfo, DecodedFrame]:
    """Read a PNG or JPEG file as one grey frame, (H, W) float32 in the file's own range (0 to 255 or 0 to 65535).

    Colour becomes luminance (ITU-R BT.601); transparency is ignored.

    Raises
    ------
    PixelError
        Not a PNG or JPEG, damaged, or larger than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                kind, bits, stored = str(image.format), _GREY_MODES.get(image.mode, 8), _samples(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PixelError(f"image too large: more than {Image.MAX_IMAGE_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        raise PixelError("neither a PNG nor a JPEG file") from error
    except (MemoryError, *LIBRARY_ERRORS) as error:
        raise PixelError(f"the image can't be read: {one_line(error)}") from error
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
