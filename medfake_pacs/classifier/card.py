"""A model's card: what it is, how its input is made, how its scores are read, and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from medfake_pacs.classifier.calibration import LOSSLESS, LOSSY, Calibration, Strata, Thresholds
from medfake_pacs.classifier.domains import Domain
from medfake_pacs.errors import BundleError

FORMATS = (1, 2)
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The architecture by its name in timm, its number of input channels, and the side of its cells in pixels."""

    __pydantic_config__ = _STRICT
    backbone: str
    in_channels: int
    cell_px: int = 32


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
class Card:
    """card.json. ``figures``, ``data``, ``training`` and ``recalibration`` are for readers; the rest drives scoring.

    Format 1 has ``thresholds``, format 2 ``strata`` instead: one for lossless images, and perhaps one for lossy ones.
    """

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
    domain: Domain
    thresholds: Thresholds | None = None
    strata: Strata = field(default_factory=dict)
    data: tuple[Mapping[str, Any], ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[Mapping[str, Any], ...] = ()
    recalibration: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format == 1 and (self.thresholds is None or self.strata):
            raise ValueError("a card of format 1 has thresholds, and no strata")
        if self.format == 2 and (self.thresholds is not None or LOSSLESS not in self.strata):
            raise ValueError("a card of format 2 has strata, the one for lossless images among them, and no thresholds")

    def bounds(self) -> dict[tuple[bool, bool], tuple[float, float]]:
        """Return (highest logit that is consistent with real, lowest with fake), by (lossy, several windows).

        A card of format 1 has one pair for every image. It doesn't say which threshold is whose bound: the lower one
        was chosen by the fakes, the upper one by the real images.
        """
        if self.thresholds:
            one = self.thresholds.bounds(self.calibration)
            return {(False, False): one, (True, False): one}
        return {
            (kind == LOSSY, several): (reading.real.threshold, reading.fake.threshold)
            for kind, stratum in self.strata.items()
            for several, reading in ((False, stratum.image), (True, stratum.series))
            if reading
        }

    def shown_thresholds(self) -> dict[tuple[bool, bool], tuple[float, float]]:
        """Return the probabilities (real below, fake above), by (lossy, several windows)."""
        return {
            key: (self.calibration.probability(min(pair)), self.calibration.probability(max(pair)))
            for key, pair in sorted(self.bounds().items())
        }


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
    if card.format not in FORMATS:
        raise BundleError(f"card.json: format {card.format} is not known, only {' and '.join(map(str, FORMATS))}")
    return card
