"""From a spooled image to grey frames in modality units, one pinned decoder per transfer syntax.

The names load on first use: a process that needs ``syntaxes`` alone, as the receiver does, pays for no codec.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medfake_pacs.pixels.decode import decode_frames, inspect
    from medfake_pacs.pixels.digest import pixel_digest
    from medfake_pacs.pixels.limits import PixelLimits
    from medfake_pacs.pixels.process import DecoderProcess
    from medfake_pacs.pixels.raster import load_raster
    from medfake_pacs.pixels.syntaxes import SUPPORTED_TRANSFER_SYNTAXES

_HOMES = {
    "DecoderProcess": "process",
    "PixelLimits": "limits",
    "SUPPORTED_TRANSFER_SYNTAXES": "syntaxes",
    "decode_frames": "decode",
    "inspect": "decode",
    "load_raster": "raster",
    "pixel_digest": "digest",
}

__all__ = [
    "SUPPORTED_TRANSFER_SYNTAXES",
    "DecoderProcess",
    "PixelLimits",
    "decode_frames",
    "inspect",
    "load_raster",
    "pixel_digest",
]


def __getattr__(name: str) -> Any:
    """Return a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
