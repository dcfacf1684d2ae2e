"""From modality values to the model's input: the one function for training and for service.

Every channel is a local function of the frame (a window or a 3×3 neighbourhood), so a tile cut from the
frame before or after preparation has the same values, except along the outermost pixels. The only
statistic of the whole frame is the optional percentile range, which makes a radiograph's input
independent of its bit depth and exposure; it is taken before anything is cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One input channel: ``window`` maps low..high to -1..1, ``highpass`` is the compressed residual.

    The residual is the value minus the mean of its size×size neighbourhood, in units of ``scale``,
    through asinh (linear for noise, logarithmic for edges), clipped to ±``clip``.
    """

    kind: str
    low: float = 0.0
    high: float = 1.0
    size: int = 3
    scale: float = 1.0
    clip: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """A card's recipe; ``percentiles`` rescales the frame so that they become 0 and 255 first."""

    channels: tuple[Channel, ...]
    percentiles: tuple[float, float] | None = None

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> "Preprocessing":
        """Parses the card's "preprocessing" object.

        Raises: ValueError for an unknown kind, key or an empty list of channels.
        """
        unknown = set(data) - {"channels", "percentiles"}
        if unknown:
            raise ValueError(f"preprocessing: unknown keys {sorted(unknown)}")
        channels = tuple(_channel(entry) for entry in data.get("channels", ()))
        if not channels:
            raise ValueError("preprocessing: no channels")
        percentiles = data.get("percentiles")
        return cls(channels=channels, percentiles=tuple(percentiles) if percentiles else None)


def _channel(entry: Mapping[str, Any]) -> Channel:
    try:
        channel = Channel(**entry)
    except TypeError as error:
        raise ValueError(f"preprocessing: channel {dict(entry)}: {error}") from error
    if channel.kind not in ("window", "highpass"):
        raise ValueError(f"preprocessing: unknown channel kind {channel.kind!r}")
    if channel.kind == "window" and channel.high <= channel.low:
        raise ValueError(f"preprocessing: window {channel.low}..{channel.high} is empty")
    return channel


def bounds_of(frame: Array, preprocessing: Preprocessing) -> tuple[float, float] | None:
    """The values of a whole frame (H, W) at the recipe's percentiles; None where it has none."""
    if preprocessing.percentiles is None:
        return None
    low, high = np.percentile(frame, preprocessing.percentiles)
    return float(low), float(high)


def rescaled(values: Array, bounds: tuple[float, float] | None) -> Array:
    """Values (H, W) with the bounds mapped to 0 and 255, or themselves where there are none."""
    if bounds is None:
        return values
    low, high = bounds
    if high <= low:
        return np.zeros_like(values)
    return ((values - np.float32(low)) * np.float32(255.0 / (high - low))).astype(np.float32)


def channels_of(values: Array, preprocessing: Preprocessing) -> Array:
    """The model's channels (C, H, W) float32 of values that are rescaled already."""
    planes = []
    for channel in preprocessing.channels:
        if channel.kind == "window":
            half = (channel.high - channel.low) / 2
            plane = np.clip((values - (channel.low + half)) / half, -1, 1)
        else:
            residual = values - uniform_filter(values, channel.size, mode="reflect")
            plane = np.clip(np.arcsinh(residual / channel.scale), -channel.clip, channel.clip)
        planes.append(plane)
    return np.stack(planes).astype(np.float32)


def prepare(frame: Array, preprocessing: Preprocessing) -> Array:
    """The model's input (C, H, W) float32 of one frame (H, W) float32 in modality units (HU for CT)."""
    values = np.asarray(frame, np.float32)
    return channels_of(rescaled(values, bounds_of(values, preprocessing)), preprocessing)


def preparer(recipe: Mapping[str, Any]) -> Callable[[Array], Array]:
    """The function frame (H, W) to input (C, H, W) of a card's "preprocessing".

    Raises: ValueError when the recipe can't be read.
    """
    return partial(prepare, preprocessing=Preprocessing.from_mapping(recipe))
