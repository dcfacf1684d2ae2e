"""From scored validation images to a card's calibration and strata."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from medfake_pacs import conformal
from medfake_pacs.classifier.calibration import LOSSLESS, LOSSY, Calibration, Kind, Reading, Side, Stratum
from training.calibration.bounds import extrapolated_side, fake_side, one_of_each, real_side
from training.calibration.temperature import fit_temperature
from training.evaluation.rows import CLEAN, is_cleaned
from training.evaluation.series import best_run
from training.provenance import CLEANED

ALPHA, FAKE_ALPHA = 0.01, 0.10
# A thin-slice chest CT has so many slices, and about as many windows.
WINDOWS = 300
_TRAINED_PRIOR = 0.5


class ScoredImage(Protocol):
    """One scored image, as the evaluation's rows have it.

    ``codec`` names the lossy compression that it went through here; ``lossy``: it was compressed with loss, here or
    before, which is what the node goes by.
    """

    name: str
    patient: str
    series: str
    position: float
    family: str
    codec: str
    lossy: bool
    score: float
    outside: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What goes into a card."""

    calibration: Calibration
    strata: Mapping[Kind, Stratum]

    def as_mapping(self) -> dict[str, Any]:
        """As the card's keys ``calibration`` and ``strata``."""
        strata = {kind: asdict(stratum) for kind, stratum in self.strata.items()}
        return {"calibration": asdict(self.calibration), "strata": {k: _without_none(v) for k, v in strata.items()}}


def fit(
    rows: Sequence[ScoredImage],
    *,
    families: Sequence[str],
    contiguous: int,
    alpha: float = ALPHA,
    fake_alpha: float = FAKE_ALPHA,
    windows: int = WINDOWS,
) -> Fitted:
    """Chooses how scores are read, from validation patients alone.

    ``rows``: clean images and fakes, as they are and through lossy codecs; images outside the domain don't count.
    ``families`` are those that the model was trained on: held-out ones decide nothing here. A row's stratum is by its
    own ``lossy``, as its verdict is. Of an image that went through several codecs the worst score counts: a clean
    one's highest, a fake's lowest, so that the promise holds for each codec; one image of each patient counts, where
    there are enough patients. Without compressed rows there is no stratum for lossy images. Neighbouring slices of a
    validation patient's series are its volume; the best runs of whole volumes are what ``series`` rests on, where
    there are enough.

    Raises: ValueError where there is too little of anything.
    """
    inside = [row for row in rows if not row.outside and not getattr(row, "change", "")]
    plain = [row for row in inside if not row.codec]
    slope, intercept = fit_temperature(
        [row.score for row in plain if row.family == CLEAN], [row.score for row in plain if row.family in families]
    )
    calibration = Calibration(slope=round(slope, 5), intercept=round(intercept, 5), trained_prior=_TRAINED_PRIOR)
    strata: dict[Kind, Stratum] = {}
    for kind in (LOSSLESS, LOSSY):
        chosen = [row for row in inside if row.lossy is (kind == LOSSY)]
        if any(row.family == CLEAN for row in chosen):
            strata[kind] = _stratum(  # type: ignore[index]
                chosen, families, contiguous=contiguous, alpha=alpha, fake_alpha=fake_alpha, windows=windows
            )
    return Fitted(calibration=calibration, strata=strata)


def _stratum(
    rows: Sequence[ScoredImage],
    families: Sequence[str],
    *,
    contiguous: int,
    alpha: float,
    fake_alpha: float,
    windows: int,
) -> Stratum:
    clean = worst((row for row in rows if row.family == CLEAN), max)
    fakes = worst((row for row in rows if row.family in families), min)
    scores = [score for _, score in clean.values()]
    single = one_of_each({row.name: (row.patient, score) for row, score in clean.values()})
    # Too few fakes for the share asked for: the smallest that they support, and the card says which.
    fake_alpha = max(fake_alpha, math.ceil(1000 * conformal.supported_alpha(len(fakes))) / 1000)
    fake = fake_side(
        [score for _, score in fakes.values()], fake_alpha, patients=len({row.patient for row, _ in fakes.values()})
    )
    if len(single) >= conformal.least_count(alpha):
        real = real_side(single, alpha, patients=len(single))
    else:
        real = extrapolated_side(scores, alpha, patients=len(single))
    image = Reading(real=real, fake=fake)
    if contiguous == 1:
        return Stratum(image=image)
    return Stratum(image=image, series=Reading(real=_series(clean, image.real, contiguous, windows), fake=fake))


def _series(
    clean: Mapping[tuple[str, str], tuple[ScoredImage, float]], image: Side, contiguous: int, windows: int
) -> Side:
    """The real side for the best of many windows: by rank among whole volumes, or extrapolated from single slices."""
    best = best_runs(clean.values(), contiguous)
    runs = one_of_each(best)
    alpha = image.alpha or ALPHA
    if len(runs) >= conformal.least_count(alpha):
        return real_side(runs, alpha, patients=len(runs))
    return extrapolated_side(
        [score for _, score in clean.values()],
        alpha,
        patients=image.patients,
        windows=windows,
        at_least=max([image.threshold, *(run for _, run in best.values())]),
    )


def worst(
    rows: Iterable[ScoredImage], choose: Callable[[Iterable[float]], float]
) -> dict[tuple[str, str], tuple[ScoredImage, float]]:
    """The score that counts of each image and family, out of those through several codecs."""
    found: dict[tuple[str, str], list[ScoredImage]] = {}
    for row in rows:
        found.setdefault((row.name, row.family), []).append(row)
    return {key: (same[0], choose(row.score for row in same)) for key, same in found.items()}


def best_runs(scored: Iterable[tuple[ScoredImage, float]], contiguous: int) -> dict[str, tuple[str, float]]:
    """Patient and best run, pooled as the node does, of each series of more slices than one window; by both names."""
    series: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}
    for row, score in scored:
        if row.series:
            series.setdefault((row.patient, row.series, is_cleaned(row.name)), []).append((row.position, score))
    return {
        f"{patient}/{name}{CLEANED if cleaned else ''}": (
            patient,
            best_run([score for _, score in sorted(slices)], contiguous),
        )
        for (patient, name, cleaned), slices in series.items()
        if len(slices) > contiguous
    }


def _without_none(stratum: dict[str, Any]) -> dict[str, Any]:
    return {unit: reading for unit, reading in stratum.items() if reading is not None}
