"""Intervals: patients resampled with weights, and those of shares that a count allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.metrics import Array, Metric, Table

ROUNDS = 1000
_CHUNK = 200
_Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval; None where nothing could be measured."""

    value: float | None
    low: float | None
    high: float | None

    def as_mapping(self) -> dict[str, Any]:
        """Plain data, rounded to five decimals."""
        return {name: _rounded(getattr(self, name)) for name in ("value", "low", "high")}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 5)


def draws(table: Table, metric: Metric, *, rounds: int = ROUNDS, seed: int = 0) -> Array:
    """The metric of ``rounds`` samples of patients drawn with replacement, (rounds,); NaN where a class was missed.

    Two tables with the same ``patients`` get the same draws for the same seed: their differences are paired.
    """
    rng = np.random.default_rng(seed)
    count = len(table.patients)
    values = []
    for start in range(0, rounds, _CHUNK):
        size = min(_CHUNK, rounds - start)
        times = rng.multinomial(count, np.full(count, 1 / count), size=size)
        values.append(metric(table, times[:, table.patient] * table.weight))
    return np.concatenate(values)


def estimate(table: Table, metric: Metric, *, rounds: int = ROUNDS, seed: int = 0) -> Estimate:
    """The metric of a table with its bootstrap interval (2.5 and 97.5 %), patients drawn."""
    if not (table.fake.any() and (~table.fake).any()):
        return Estimate(value=None, low=None, high=None)
    value = float(metric(table, table.weight[None])[0])
    return _between(value, draws(table, metric, rounds=rounds, seed=seed))


def difference(first: Table, second: Table, metric: Metric, *, rounds: int = ROUNDS, seed: int = 0) -> Estimate:
    """The metric of the first table less that of the second, patients drawn for both alike.

    Raises: ValueError when the tables' patients differ.
    """
    if first.patients != second.patients:
        raise ValueError("paired draws need the same patients")
    if any(not (table.fake.any() and (~table.fake).any()) for table in (first, second)):
        return Estimate(value=None, low=None, high=None)
    value = float(metric(first, first.weight[None])[0] - metric(second, second.weight[None])[0])
    drawn = [draws(table, metric, rounds=rounds, seed=seed) for table in (first, second)]
    return _between(value, drawn[0] - drawn[1])


def _between(value: float, drawn: Array) -> Estimate:
    if not np.isfinite(drawn).any():
        return Estimate(value=value, low=None, high=None)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(value=value, low=float(low), high=float(high))


def wilson(hits: float, total: float, z: float = _Z) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion; (0, 1) where nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def share(hits: Sequence[bool], patients: Sequence[str]) -> tuple[float | None, float, float]:
    """A share of images with its 95 % interval: Wilson's, with as many independent images as the patients allow.

    Images of one patient are alike. Where there are both hits and misses, the number of images is divided by the
    design effect (variance of the ratio between patients over the binomial one, at least 1); where there are only
    hits or only misses, each patient counts as one image.
    """
    total = len(hits)
    if not total:
        return None, 0.0, 1.0
    names = sorted(set(patients))
    index = {name: number for number, name in enumerate(names)}
    counts, found = np.zeros(len(names)), np.zeros(len(names))
    for hit, patient in zip(hits, patients, strict=True):
        counts[index[patient]] += 1
        found[index[patient]] += hit
    value = float(found.sum() / total)
    effective: float = len(names)
    if 0 < value < 1 and len(names) > 1:
        variance = len(names) / (len(names) - 1) * ((found - value * counts) ** 2).sum() / total**2
        effective = min(total, max(1.0, value * (1 - value) / max(variance, 1e-12)))
    low, high = wilson(value * effective, effective)
    return value, low, high


def at_most(reals: int) -> float:
    """The highest share of false alarms that none among ``reals`` clean images allows (95 %): the rule of three."""
    return 1.0 if reals == 0 else float(1 - 0.05 ** (1 / reals))


def positive_predictive_value(
    prevalence: float, found: tuple[float, float, float], alarms: tuple[float, float, float]
) -> Estimate:
    """The share of alarms that are right, from the shares (value, low, high) of fakes found and of false alarms.

    The interval takes both shares' limits at their worst and at their best, so it is wider than 95 %. Without any
    false alarm among the images there is no value, only the interval: the images can't tell.
    """

    def value(sensitivity: float, false: float) -> float:
        right, wrong = prevalence * sensitivity, (1 - prevalence) * false
        return right / (right + wrong) if right + wrong > 0 else float("nan")

    point = value(found[0], alarms[0])
    low, high = value(found[1], alarms[2]), value(found[2], alarms[1])
    return Estimate(value=None if np.isnan(point) or alarms[0] == 0 else point, low=low, high=high)
