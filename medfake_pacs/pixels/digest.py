"""Digests that name an image by what its pixels are, whatever compression they travelled in."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from medfake_pacs.entities import ImageInfo

_VERSION = "frame-1"


def frame_digest(stored: npt.NDArray[Any], photometric: str, reading: str) -> str:
    """Return a frame's SHA-256: stored values, their shape and type, and how they are read as grey.

    ``stored`` is C-contiguous and little endian; ``reading`` is the modality transformation's fingerprint: the same
    stored values under another rescale slope are another image, and no score of one may be taken for the other's.
    """
    kind = "f" if stored.dtype.kind == "f" else "i" if stored.dtype.kind == "i" else "u"
    head = f"{_VERSION};{stored.shape};{kind}{stored.dtype.itemsize};{photometric};{reading};"
    digest = hashlib.sha256(head.encode("ascii", "replace"))
    digest.update(memoryview(stored).cast("B"))
    return digest.hexdigest()


def pixel_digest(frame_sha256s: Iterable[str], info: ImageInfo) -> str:
    """Return an image's digest from its frames' digests, in order.

    Equal for the same stored values in every lossless transfer syntax; ``info`` adds the size alone.
    """
    digest = hashlib.sha256(f"image-1;{info.rows};{info.columns};{info.number_of_frames};".encode("ascii"))
    for frame_sha256 in frame_sha256s:
        digest.update(frame_sha256.encode("ascii"))
    return digest.hexdigest()
