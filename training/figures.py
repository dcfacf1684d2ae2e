"""The figures of a card: what was measured, on how much, with which interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.calibrate import Reading
from training.scored import CLEAN, Row, best_run
from training.statistics import auc, auc_interval, wilson

Figure = dict[str, Any]
REFERENCE = "quantiles of the pooled logit of clean images"
_QUANTILES = 51


def image_figures(rows: Sequence[Row], reading: Reading, seen: Sequence[str]) -> list[Figure]:
    """AUC and detection for each family and codec, and false alarms on clean images."""
    result: list[Figure] = []
    for codec in sorted({row.codec for row in rows}):
        here = [row for row in rows if row.codec == codec]
        clean = [row for row in here if row.family == CLEAN]
        label = codec or "uncompressed"
        result.append(_share("clean images called fake", label, clean, reading.fake_above_logit, above=True))
        result.append(_share("clean images called real", label, clean, reading.real_below_logit, above=False))
        for family in sorted({row.family for row in here} - {CLEAN}):
            fakes = [row for row in here if row.family == family]
            kind = "in training" if family in seen else "held out of training"
            result.append(_area(f"AUC, {family} ({kind})", label, clean, fakes))
            result.append(
                _share(f"fakes called fake, {family} ({kind})", label, fakes, reading.fake_above_logit, above=True)
            )
            result.append(
                _share(f"fakes called real, {family} ({kind})", label, fakes, reading.real_below_logit, above=False)
            )
        for kind, chosen in (("in training", True), ("held out of training", False)):
            fakes = [row for row in here if row.family != CLEAN and (row.family in seen) is chosen]
            if fakes:
                result.append(_area(f"AUC, all families {kind}", label, clean, fakes))
    return result


def outside_figure(rows: Sequence[Row]) -> Figure:
    """How many clean images are refused as outside the domain."""
    clean = [row for row in rows if row.family == CLEAN and not row.codec]
    hits = sum(bool(row.outside) for row in clean)
    return _counted("clean images outside the domain", "uncompressed", clean, hits, len(clean))


def reference_figure(rows: Sequence[Row]) -> Figure:
    """How the scores of clean images inside the domain are spread: what a node compares its own images with.

    ``quantiles`` are evenly spaced from the lowest score to the highest; ``value`` is the median.
    """
    clean = [row for row in rows if row.family == CLEAN and not row.codec]
    inside = [row for row in clean if not row.outside]
    quantiles = np.quantile([row.score for row in inside], np.linspace(0, 1, _QUANTILES))
    return {
        "what": REFERENCE,
        "condition": "uncompressed",
        "value": round(float(np.median([row.score for row in inside])), 4),
        "quantiles": [round(float(value), 4) for value in quantiles],
        "count": len(inside),
        "of": len(clean),
        "patients": len({row.patient for row in inside}),
    }


def series_figures(series: dict[str, list[list[Row]]], reading: Reading, length: int) -> list[Figure]:
    """The score of each clean volume, and how many edited volumes are called fake."""
    result = []
    for rows in series[CLEAN]:
        score = best_run([row.score for row in rows if not row.outside], length)
        result.append(
            {
                "what": "clean series (used to set the threshold), logit of its best run: called "
                + _called(score, reading),
                "condition": f"{len(rows)} slices; fake above {reading.fake_above_logit:.3f}",
                "value": round(score, 4),
                "threshold": round(reading.fake_above_logit, 4),
                "real_below": round(reading.real_below_logit, 4),
                "of": 1,
                "patients": 1,
            }
        )
    for family, volumes in series.items():
        if family == CLEAN:
            continue
        scores = [best_run([row.score for row in rows if not row.outside], length) for rows in volumes]
        hits = sum(score > reading.fake_above_logit for score in scores)
        result.append(
            _counted(f"edited series called fake, {family}", "one volume, other places", volumes[0], hits, len(scores))
        )
    return result


def _called(score: float, reading: Reading) -> str:
    if score > reading.fake_above_logit:
        return "fake"
    return "real" if score < reading.real_below_logit else "indeterminate"


def _share(what: str, condition: str, rows: Sequence[Row], logit: float, *, above: bool) -> Figure:
    inside = [row for row in rows if not row.outside]
    hits = sum(row.score > logit if above else row.score < logit for row in inside)
    return _counted(what, condition, inside, hits, len(inside))


def _counted(what: str, condition: str, rows: Sequence[Row], hits: int, total: int) -> Figure:
    low, high = wilson(hits, total)
    return {
        "what": what,
        "condition": condition,
        "value": round(hits / total, 4) if total else None,
        "interval_95": [round(low, 4), round(high, 4)],
        "count": hits,
        "of": total,
        "patients": len({row.patient for row in rows}),
    }


def _area(what: str, condition: str, clean: Sequence[Row], fakes: Sequence[Row]) -> Figure:
    ours = [(row.patient, row.score) for row in clean if not row.outside]
    theirs = [(row.patient, row.score) for row in fakes if not row.outside]
    low, high = auc_interval(ours, theirs)
    return {
        "what": what,
        "condition": condition,
        "value": round(auc([score for _, score in ours], [score for _, score in theirs]), 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "clean": len(ours),
        "fakes": len(theirs),
        "patients": len({patient for patient, _ in ours}),
    }


def line(figure: Figure) -> str:
    """A figure as a row of a Markdown table."""
    low, high = figure.get("interval_95", (None, None))
    interval = "" if low is None else f"{low:.3f} to {high:.3f}"
    if "quantiles" in figure:
        interval = f"{figure['quantiles'][0]:.3f} to {figure['quantiles'][-1]:.3f} (lowest, highest)"
    size = f"{figure['fakes']} fakes" if "fakes" in figure else f"{figure.get('count', 1)} of {figure['of']}"
    value = "" if figure["value"] is None else f"{figure['value']:.3f}"
    return f"| {figure['what']} | {figure['condition']} | {value} | {interval} | {size} | {figure.get('patients', 1)} |"
