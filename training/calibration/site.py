"""Thresholds from a site's own clean images: ranking transfers between sites, thresholds don't."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.stats import beta

from medfake_pacs import conformal
from medfake_pacs.classifier.calibration import LOSSLESS, LOSSY, Kind, Reading, Side, Stratum
from medfake_pacs.classifier.card import Card
from training.calibration.bounds import extrapolated_side, one_of_each, real_side
from training.calibration.fitting import WINDOWS
from training.calibration.images import SiteImage
from training.evaluation.series import best_run

_BEYOND = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One unit of one stratum: the site's scores, one of each patient, and the real side before and after.

    ``after`` is None where it stays as it was; ``why`` says why.
    """

    kind: Kind
    unit: str
    scores: tuple[float, ...]
    all_scores: tuple[float, ...]
    before: Side | None
    after: Side | None
    fakes: Side | None
    why: str = ""

    def called_fake(self, scores: Sequence[float], side: Side) -> int:
        """How many of some scores are called fake with a real side: above it, and consistent with fake."""
        fake_from = self.fakes.threshold if self.fakes else side.threshold
        return sum(score > side.threshold and score >= fake_from for score in scores)

    def false_alarms(self, side: Side) -> int:
        """How many of the site's images, one of each patient, are called fake with a real side."""
        return self.called_fake(self.scores, side)


def strata_of(card: Card) -> dict[Kind, Stratum]:
    """A card's strata; of format 1, which has one pair of thresholds for all images, that pair for both."""
    if card.thresholds is None:
        return dict(card.strata)
    # A probability of 0 or 1 is an infinite logit, which no image reaches.
    real_to, fake_from = (max(-_BEYOND, min(_BEYOND, bound)) for bound in card.bounds()[False, False])
    reading = Reading(
        real=Side(threshold=real_to, alpha=None, method="given"),
        fake=Side(threshold=fake_from, alpha=None, method="given"),
    )
    return {LOSSLESS: Stratum(image=reading), LOSSY: Stratum(image=reading)}  # type: ignore[dict-item]


def recalibrated(
    card: Card, images: Sequence[SiteImage], alpha: float, *, windows: int = WINDOWS
) -> tuple[dict[Kind, Stratum], list[Change]]:
    """The card's strata with the real sides that the site's images support, and what changed.

    One image of each patient counts, drawn by its digest: slices of one patient are alike, and a hundred of them say no
    more than one of what the next patient's will score. The fakes' sides stay the card's.
    """
    strata = strata_of(card)
    changes = []
    for kind in (LOSSLESS, LOSSY):
        mine = [image for image in images if image.lossy is (kind == LOSSY)]
        found = _changes(kind, strata.get(kind), mine, card.pooling.contiguous_k, alpha, windows)  # type: ignore
        changes += found
        for change in found:
            if change.after:
                strata[change.kind] = _with(strata[change.kind], change.unit, change.after)
    return strata, changes


def _changes(
    kind: Kind, stratum: Stratum | None, images: Sequence[SiteImage], contiguous: int, alpha: float, windows: int
) -> list[Change]:
    single = one_of_each({image.sha256: (image.group, image.score) for image in images})
    before = stratum.image if stratum else None
    why = _refusal(stratum, len(single), alpha)
    after = None if why else real_side(single, alpha, patients=len(single))
    image = Change(
        kind=kind,
        unit="image",
        scores=tuple(single),
        all_scores=tuple(item.score for item in images),
        before=before.real if before else None,
        after=after,
        fakes=before.fake if before else None,
        why=why,
    )
    if contiguous == 1:
        return [image]
    return [image, _series_change(image, stratum, images, contiguous, alpha, windows)]


def _series_change(
    image: Change,
    stratum: Stratum | None,
    images: Sequence[SiteImage],
    contiguous: int,
    alpha: float,
    windows: int,
) -> Change:
    runs = best_runs(images, contiguous)
    best = one_of_each(runs)
    reading = (stratum.series or stratum.image) if stratum else None
    after, why = None, image.why
    if len(best) >= conformal.least_count(alpha):
        after = real_side(best, alpha, patients=len(best))
    elif image.after:
        why = f"{len(best)} patients with a series: extrapolated from {len(image.scores)} single images"
        after = extrapolated_side(
            image.scores,
            alpha,
            patients=len(image.scores),
            windows=windows,
            at_least=max([image.after.threshold, *best]),
        )
    return Change(
        kind=image.kind,
        unit="series",
        scores=tuple(best),
        all_scores=tuple(score for _, score in runs.values()),
        before=reading.real if reading else None,
        after=after,
        fakes=reading.fake if reading else None,
        why=why,
    )


def _refusal(stratum: Stratum | None, patients: int, alpha: float) -> str:
    """Why a stratum stays as it was; empty where it can be recalibrated."""
    if not patients:
        return "no such image"
    if patients < conformal.least_count(alpha):
        return (
            f"{patients} patients; a false-alarm rate of {alpha:.2%} needs {conformal.least_count(alpha)}, "
            f"and {patients} support {conformal.supported_alpha(patients):.2%}"
        )
    return "" if stratum else "the card has no fakes of this kind to compare with"


def best_runs(images: Sequence[SiteImage], contiguous: int) -> dict[str, tuple[str, float]]:
    """Group and best run of each series of more slices than one window, by the series."""
    series: dict[str, list[SiteImage]] = {}
    for image in images:
        if image.series:
            series.setdefault(image.series, []).append(image)
    return {
        uid: (slices[0].group, best_run([one.score for one in sorted(slices, key=lambda one: one.order)], contiguous))
        for uid, slices in series.items()
        if len(slices) > contiguous
    }


def rate_interval(side: Side) -> tuple[float, float]:
    """Between which false-alarm rates a threshold by rank lies with a certainty of 95 %.

    The share of the population above the k-th of n scores has the distribution Beta(n + 1 - k, k), whatever the scores'
    own distribution (Vovk, "Conditional validity of inductive conformal predictors", 2012).
    """
    rank = conformal.rank(side.count, side.alpha or 0.5)
    low, high = beta.ppf([0.025, 0.975], side.count + 1 - rank, rank)
    return float(low), float(high)


def _with(stratum: Stratum, unit: str, real: Side) -> Stratum:
    reading = stratum.image if unit == "image" else stratum.series or stratum.image
    return replace(stratum, **{unit: Reading(real=real, fake=reading.fake)})
