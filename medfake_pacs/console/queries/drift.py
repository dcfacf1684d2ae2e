"""Whether the scores of images that come lie where those of the images lay that the model was tested on.

The measure is Kolmogorov and Smirnov's: the largest difference between the shares of images below a score,
among the newest images and among the clean test images of the model card. It is small where both are alike.
Drift is only said where the difference is both larger than chance gives once in a hundred times and large
enough to matter. Slices of one series are alike, so that chance gives more than the formula says; the second
condition is there for that.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import sqlalchemy as sa

from medfake_pacs.classifier.bundle import model_digest
from medfake_pacs.classifier.card import Card, parse_card
from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import CARD_NAME, bundle_directories
from medfake_pacs.database.tables import instances, scores
from medfake_pacs.errors import BundleError

NEWEST_IMAGES = 2000
FEWEST_IMAGES = 200
_LOOKED_AT = 20_000
_BINS = 24
_CHANCE = 0.01
_MATTERS = 0.15
# How far from the middle the median may lie for both to be said to lie at the same place.
_SAME_PLACE = 0.125


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How the model's test images scored: evenly spaced quantiles of the logit, of ``count`` images."""

    quantiles: tuple[float, ...]
    count: int

    def share_below(self, score: float) -> float:
        """Return the share of test images at or below a score."""
        quantiles = self.quantiles
        at = bisect_right(quantiles, score)
        if at == 0 or at == len(quantiles):
            return float(at > 0)
        low, high = quantiles[at - 1], quantiles[at]
        return (at - 1 + (score - low) / (high - low)) / (len(quantiles) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What the newest scores of one model say. ``difference`` is None where they are too few to compare.

    ``reference_shares`` and ``shares`` are of the bins between ``edges``.
    """

    model: str
    version: str
    model_sha256: str
    count: int
    outside_domain: int
    reference_count: int
    difference: float | None
    drifted: bool
    text: str
    edges: tuple[float, ...] = ()
    reference_shares: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()


def installed_cards(settings: Settings) -> tuple[Card, ...]:
    """Return the cards of the models that are installed; a damaged one is left to `models verify`."""
    found = []
    for folder in bundle_directories(settings).values():
        try:
            found.append(parse_card((folder / CARD_NAME).read_bytes()))
        except (BundleError, OSError):
            continue
    return tuple(found)


def drift(connection: sa.Connection, card: Card, since: float) -> Drift:
    """Compare the scores of the newest images received since a time (seconds since the epoch) with the model's card.

    Uploads to be checked don't count: people choose those, and one may well have been made to be a fake.
    """
    digest = model_digest(card)
    first = scores.c.frames[0]
    received = _received(digest, since).subquery()
    query = sa.select(first["score"].as_float(), first["outside_domain"].as_string()).join_from(
        received,
        scores,
        sa.and_(scores.c.pixel_sha256 == received.c.pixel_sha256, scores.c.model_sha256 == digest),
    )
    rows = connection.execute(query).all()
    inside = sorted(score for score, outside in rows if score is not None and not outside)
    reference = reference_of(card)
    difference = None if reference is None or len(inside) < FEWEST_IMAGES else largest_difference(inside, reference)
    edges, theirs, ours = _shares(inside, reference) if reference and inside else ((), (), ())
    return Drift(
        model=card.name,
        version=card.version,
        model_sha256=digest,
        count=len(inside),
        outside_domain=len(rows) - len(inside),
        reference_count=reference.count if reference else 0,
        difference=difference,
        drifted=difference is not None and reference is not None and is_drift(difference, len(inside), reference.count),
        text=in_words(inside, reference, difference),
        edges=edges,
        reference_shares=theirs,
        shares=ours,
    )


def _received(digest: str, since: float) -> sa.Select[tuple[str]]:
    """Return the query for the pixels of the newest images that were received for a model, each once.

    Only so many of the newest images of any model are looked at: there is no index by model.
    """
    columns = instances.c
    newest = (
        sa.select(columns.instance_id, columns.pixel_sha256, columns.model_sha256, columns.received_at)
        .order_by(columns.instance_id.desc())
        .limit(_LOOKED_AT)
        .subquery()
    )
    return (
        sa.select(newest.c.pixel_sha256)
        .where(newest.c.model_sha256 == digest, newest.c.received_at >= since, newest.c.pixel_sha256.is_not(None))
        .group_by(newest.c.pixel_sha256)
        .order_by(sa.func.max(newest.c.instance_id).desc())
        .limit(NEWEST_IMAGES)
    )


def reference_of(card: Card) -> Reference | None:
    """Return the card's figure that recent scores are compared with; None if it has none."""
    for figure in card.figures:
        quantiles = figure.get("quantiles")
        if isinstance(quantiles, Sequence) and len(quantiles) > 1 and figure.get("count"):
            return Reference(quantiles=tuple(map(float, quantiles)), count=int(figure["count"]))
    return None


def largest_difference(ordered: Sequence[float], reference: Reference) -> float:
    """Return the largest difference between the shares of scores below any score; ``ordered`` is sorted."""
    count = len(ordered)
    largest = 0.0
    for at, score in enumerate(ordered):
        share = reference.share_below(score)
        largest = max(largest, abs(share - at / count), abs(share - (at + 1) / count))
    return largest


def is_drift(difference: float, count: int, reference_count: int) -> bool:
    """Tell whether a difference is more than chance gives in one of a hundred times, and enough to matter."""
    by_chance = math.sqrt(-math.log(_CHANCE / 2) / 2 * (1 / count + 1 / reference_count))
    return difference > max(by_chance, _MATTERS)


def in_words(ordered: Sequence[float], reference: Reference | None, difference: float | None) -> str:
    """Say what the comparison came to."""
    if reference is None:
        return "the model card has no distribution of scores to compare with"
    if difference is None:
        return f"too few images to tell: {len(ordered)} of the {FEWEST_IMAGES} that it takes"
    size = f"the largest difference between the shares of images below a score is {difference:.2f}"
    if not is_drift(difference, len(ordered), reference.count):
        return f"no drift seen: {size}"
    middle = reference.share_below(ordered[len(ordered) // 2])
    if abs(middle - 0.5) < _SAME_PLACE:
        where = "the scores are spread otherwise than those of the clean images that the model was tested on"
    else:
        direction = "higher" if middle > 0.5 else "lower"
        where = f"the scores lie {direction} than those of the clean images that the model was tested on"
    return f"drift: {where}; {size}"


def _shares(
    ordered: Sequence[float], reference: Reference
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:  # fmt: skip
    low = min(reference.quantiles[0], ordered[0])
    high = max(reference.quantiles[-1], ordered[-1])
    high = high if high > low else low + 1.0
    edges = tuple(low + (high - low) * at / _BINS for at in range(_BINS + 1))
    theirs = [0.0, *(reference.share_below(edge) for edge in edges[1:-1]), 1.0]
    ours = [0.0, *(bisect_right(ordered, edge) / len(ordered) for edge in edges[1:-1]), 1.0]
    return edges, _steps(theirs), _steps(ours)


def _steps(shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(after - before for before, after in pairwise(shares))
