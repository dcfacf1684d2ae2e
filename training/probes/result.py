"""What a probe says: an AUC with its interval, patients resampled, and whether chance is in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.baselines.ranking import area

Values = npt.NDArray[np.float64]
_CHANCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One probe: ``auc`` of fakes against real images with its 95 % interval ``low`` to ``high``.

    ``near_chance``: the interval holds 0.5. A classifier that is wrong more often than right on patients that it was
    not fitted to has found nothing, so for those an interval below 0.5 is near chance too. For the two codec swaps,
    the interval of the change that the swap makes holds 0. ``images`` counts both classes.
    """

    name: str
    what: str
    auc: float
    low: float
    high: float
    images: int
    patients: int
    near_chance: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of real images and of fakes, with the patient of each."""

    real: Sequence[float]
    real_patients: Sequence[str]
    fake: Sequence[float]
    fake_patients: Sequence[str]


def measured(name: str, what: str, scores: Scores, *, rounds: int, seed: int) -> ProbeResult:
    """The result of a detector whose scores should tell nothing."""
    drawn = bootstrapped(scores, rounds=rounds, seed=seed)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return _result(name, what, [scores], (float(low), float(high)), bool(low <= _CHANCE <= high))


def measured_often(name: str, what: str, repeats: Sequence[Scores], *, rounds: int, seed: int) -> ProbeResult:
    """The result of a classifier that was fitted on several partitions of the patients.

    The AUC is the mean over the repeats, its interval that of all their draws: what fitting adds is in it.
    """
    each = -(-rounds // len(repeats))
    drawn = [bootstrapped(scores, rounds=each, seed=seed + number) for number, scores in enumerate(repeats)]
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
    return _result(name, what, repeats, (float(low), float(high)), bool(low <= _CHANCE))


def changed(name: str, what: str, before: Scores, after: Scores, *, rounds: int, seed: int) -> ProbeResult:
    """The result of ``after``, near chance where it differs from ``before`` by chance alone (paired draws)."""
    drawn = [bootstrapped(scores, rounds=rounds, seed=seed) for scores in (before, after)]
    low, high = np.percentile(drawn[1], [2.5, 97.5])
    less, more = np.percentile(drawn[1] - drawn[0], [2.5, 97.5])
    text = f"{what}; with one codec for both classes the AUC is {auc(before):.3f}"
    return _result(name, text, [after], (float(low), float(high)), bool(less <= 0 <= more))


def _result(
    name: str, what: str, repeats: Sequence[Scores], interval: tuple[float, float], near_chance: bool
) -> ProbeResult:
    scores = repeats[0]
    return ProbeResult(
        name=name,
        what=what,
        auc=float(np.mean([auc(each) for each in repeats])),
        low=interval[0],
        high=interval[1],
        images=len(scores.real) + len(scores.fake),
        patients=len({*scores.real_patients, *scores.fake_patients}),
        near_chance=near_chance,
    )


def auc(scores: Scores) -> float:
    """The AUC of all scores."""
    return area(scores.real, scores.fake)


def bootstrapped(scores: Scores, *, rounds: int, seed: int) -> Values:
    """The AUC of ``rounds`` draws of whole patients with replacement; the same seed draws the same patients.

    A draw that misses a class counts as 0.5.
    """
    names = sorted({*scores.real_patients, *scores.fake_patients})
    wins, reals, fakes = _by_patient(scores, names)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=rounds).astype(np.float64)
    total = (times @ reals) * (times @ fakes)
    won = np.einsum("ri,ij,rj->r", times, wins, times, optimize=True)
    return np.where(total > 0, won / np.maximum(total, 1), _CHANCE)


def _by_patient(scores: Scores, names: Sequence[str]) -> tuple[Values, Values, Values]:
    """Wins of the fakes of one patient over the real images of another (P, P), and the counts of each (P,)."""
    index = {name: number for number, name in enumerate(names)}
    of_real = np.array([index[name] for name in scores.real_patients])
    of_fake = np.array([index[name] for name in scores.fake_patients])
    gap = np.asarray(scores.fake, np.float64)[:, None] - np.asarray(scores.real, np.float64)[None]
    wins = np.zeros((len(names), len(names)))
    np.add.at(wins, (of_fake[:, None], of_real[None]), (gap > 0) + 0.5 * (gap == 0))
    counts = [np.bincount(numbers, minlength=len(names)).astype(np.float64) for numbers in (of_real, of_fake)]
    return wins, counts[0], counts[1]
