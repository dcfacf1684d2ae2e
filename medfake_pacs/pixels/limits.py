"""How large an image may be and how long its decoding may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLimits:
    """Bounds on one image; above any of them the image is refused, never decoded in part.

    ``max_pixels_per_frame`` is Rows x Columns, ``max_decoded_bytes`` the size of all frames' stored values together,
    ``max_memory_bytes`` the decoder process' address space, ``timeout_s`` the time that one image's frames may be
    waited for.
    """

    max_pixels_per_frame: int
    max_frames: int
    max_decoded_bytes: int
    max_memory_bytes: int
    timeout_s: float
