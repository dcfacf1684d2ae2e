"""How a card states its domain: one dataclass for each kind of check, told apart by ``kind``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag

_STRICT = ConfigDict(extra="forbid")
# The blocks of features that describe a radiograph: see looks.py.
BLOCKS = ("shapes", "brightness", "greys", "scales")
Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailDomain:
    """The first kind of check, of cards that name no kind: a thumbnail and a histogram.

    Sides in pixels. ``noise``: bounds of the median absolute 3×3 residual over the 1st to 99th percentile range.
    ``thumbnail_range``: modality units that map to 0..1, or None for the frame's own percentiles.
    ``max_distance`` and ``max_residual`` bound the distance of thumbnail and histogram from the training images'
    (within and off their principal components, which are in the weights file).
    """

    __pydantic_config__ = _STRICT
    min_side_px: int
    max_side_px: int
    min_range: float
    noise: Range
    thumbnail_px: int
    thumbnail_range: Range | None
    max_distance: float
    max_residual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiographDomain:
    """What a radiograph must look like, whatever its units: four blocks of coarse features, each with limits.

    Sides in pixels. ``min_range`` in stored units. ``noise`` as above. ``limits``: for each block the largest
    distance within and off the principal components of the training images (in the weights file).
    """

    __pydantic_config__ = _STRICT
    kind: Literal["radiograph"] = "radiograph"
    min_side_px: int
    max_side_px: int
    min_range: float
    noise: Range
    limits: Mapping[Literal["shapes", "brightness", "greys", "scales"], Range]

    def __post_init__(self) -> None:
        if missing := set(BLOCKS) - set(self.limits):
            raise ValueError(f"limits: {', '.join(sorted(missing))} missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class LungCtDomain:
    """What a CT slice of the chest must hold: shares of tissues by their Hounsfield units, each within a range.

    Sides in pixels. ``min_range`` in HU. ``noise`` as above. ``ranges``: see anatomy.py for what each is; those
    that a card leaves out aren't checked.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["lung-ct"] = "lung-ct"
    min_side_px: int
    max_side_px: int
    min_range: float
    noise: Range
    ranges: Mapping[
        Literal["body", "lung", "soft_tissue", "bone", "gas", "between", "lung_mean_hu", "lung_spread_hu"], Range
    ]

    def __post_init__(self) -> None:
        if "lung" not in self.ranges:
            raise ValueError("ranges: lung is missing")


def _kind(value: Any) -> str:
    kind = value.get("kind", "thumbnail") if isinstance(value, Mapping) else getattr(value, "kind", "thumbnail")
    return str(kind)


Domain = Annotated[
    Annotated[ThumbnailDomain, Tag("thumbnail")]
    | Annotated[RadiographDomain, Tag("radiograph")]
    | Annotated[LungCtDomain, Tag("lung-ct")],
    Discriminator(_kind),
]


def tensor_names(domain: ThumbnailDomain | RadiographDomain | LungCtDomain) -> frozenset[str]:
    """The tensors that the weights file must hold for the check."""
    parts = ("mean", "components", "deviation")
    if isinstance(domain, RadiographDomain):
        return frozenset(f"domain.{block}.{part}" for block in BLOCKS for part in parts)
    if isinstance(domain, LungCtDomain):
        return frozenset()
    return frozenset(f"domain.{part}" for part in parts)
