"""A model's card: what it is, how its input is made, how its scores are read, and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from medfake_pacs.errors import BundleError

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The architecture by its name in timm, and its number of input channels."""

    __pydantic_config__ = _STRICT
    backbone: str
    in_channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Side and overlap of the tiles that are scored, in pixels; both are multiples of 32."""

    __pydantic_config__ = _STRICT
    size: int
    overlap: int

    def __post_init__(self) -> None:
        if self.size <= 0 or self.size % 32 or self.overlap < 0 or self.overlap % 32 or 2 * self.overlap > self.size:
            raise ValueError("tile: size and overlap are multiples of 32, the overlap at most half of the size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """A frame's score is the mean of its highest positions, a series' that of its best contiguous frames."""

    __pydantic_config__ = _STRICT
    top_k_positions: int
    contiguous_k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """probability = sigmoid(slope × logit + intercept)."""

    __pydantic_config__ = _STRICT
    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Calibrated probabilities: below the first is real, above the second fake, between indeterminate."""

    __pydantic_config__ = _STRICT
    real_below: float
    fake_above: float

    def __post_init__(self) -> None:
        if not 0 <= self.real_below <= self.fake_above <= 1:
            raise ValueError("thresholds: 0 <= real_below <= fake_above <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What a frame must look like to be scored at all.

    Sides in pixels. ``noise``: bounds of the median absolute 3×3 residual over the 1st to 99th percentile range.
    ``thumbnail_range``: modality units that map to 0..1, or None for the frame's own percentiles.
    ``max_distance`` and ``max_residual`` bound the distance of thumbnail and histogram from the training images'
    (within and off their principal components, which are in the weights file).
    """

    __pydantic_config__ = _STRICT
    min_side_px: int
    max_side_px: int
    min_range: float
    noise: tuple[float, float]
    thumbnail_px: int
    thumbnail_range: tuple[float, float] | None
    max_distance: float
    max_residual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """card.json. ``figures``, ``data`` and ``training`` are for readers; the rest drives the scoring."""

    __pydantic_config__ = _STRICT
    format: int
    name: str
    version: str
    modality: str
    description: str
    network: Network
    weights_sha256: str
    preprocessing: Mapping[str, Any]
    tile: Tile
    pooling: Pooling
    calibration: Calibration
    thresholds: Thresholds
    domain: Domain
    data: tuple[Mapping[str, Any], ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[Mapping[str, Any], ...] = ()


_ADAPTER = TypeAdapter(Card)


def parse_card(text: str | bytes) -> Card:
    """Parses card.json.

    Raises: BundleError naming every key that is missing, unknown or of the wrong kind.
    """
    try:
        card = _ADAPTER.validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'card'}: {item['msg']}" for item in error.errors())
        raise BundleError(f"card.json: {problems}") from error
    if card.format != 1:
        raise BundleError(f"card.json: format {card.format} is not known, only 1")
    return card
