"""What is measured of one detector on some images, as plain data with an interval beside every value."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from training.evaluation import metrics
from training.evaluation.intervals import at_most, draws, estimate, positive_predictive_value, share
from training.evaluation.metrics import Metric, Table, make_table
from training.evaluation.rows import Row

Plain = dict[str, Any]
VERDICTS = ("real", "indeterminate", "outside the domain", "fake", "not assessed")
PREVALENCES = (0.001, 0.01)
_CURVE_POINTS = 160
_RANKING: Mapping[str, Metric] = {
    "auc": metrics.auc,
    "average_precision": metrics.average_precision,
    "detection_at_1_percent": metrics.detection_at(0.01),
    "detection_at_0.1_percent": metrics.detection_at(0.001),
}
_CALIBRATED: Mapping[str, Metric] = {
    "calibration_error": metrics.calibration_error,
    "brier": metrics.brier,
    "log_loss": metrics.log_loss,
}
_DECIDED: Mapping[str, Metric] = {
    "accuracy": metrics.accuracy,
    "accuracy_of_decided": metrics.accuracy_of_decided,
}


def image_measures(rows: Sequence[Row]) -> Plain:
    """Ranking, calibration and decisions on clean images and fakes, with the counts that they rest on."""
    table, everything = make_table(rows), make_table(rows, outside=True)
    result = sizes(rows) | ranking_of_all(rows)
    calibrated = bool(len(table.score)) and not np.isnan(table.probability).any()
    chosen: list[tuple[Table, Mapping[str, Metric]]] = [(table, _RANKING)]
    if calibrated:
        chosen += [(table, _CALIBRATED), (everything, _DECIDED)]
    for which, measured in chosen:
        result |= {name: estimate(which, metric).as_mapping() for name, metric in measured.items()}
    return result | alarms(rows) if calibrated else result


def ranking_of_all(rows: Sequence[Row]) -> Plain:
    """The AUC of all images, with what the model refuses ranked lowest, and how many it didn't refuse."""
    return {
        "auc_of_all": estimate(make_table(refused_lowest(rows)), metrics.auc).as_mapping(),
        "scored": sum(not row.outside for row in rows),
        "of": len(rows),
    }


def refused_lowest(rows: Sequence[Row]) -> list[Row]:
    """Some rows with images outside the domain below every score: a fake that is refused was not found."""
    return [replace(row, score=-math.inf, outside="") if row.outside else row for row in rows]


def alarms(rows: Sequence[Row]) -> Plain:
    """Recall of "fake", and its precision at equal numbers of clean images and fakes."""
    clean, fakes = ([row for row in rows if row.fake is fake] for fake in (False, True))
    found = share([row.verdict == "fake" for row in fakes], [row.patient for row in fakes])
    wrong = share([row.verdict == "fake" for row in clean], [row.patient for row in clean])
    result: Plain = {"recall": called(fakes, "fake"), "precision": {"value": None, "low": None, "high": None}}
    if found[0] is not None and wrong[0] is not None:
        precise = positive_predictive_value(0.5, (found[0], *found[1:]), (wrong[0], *wrong[1:]))
        result["precision"] = precise.as_mapping()
    return result


def sizes(rows: Sequence[Row]) -> Plain:
    """How many clean images, fakes and patients."""
    return {
        "clean": sum(not row.fake for row in rows),
        "fakes": sum(row.fake for row in rows),
        "outside": sum(bool(row.outside) for row in rows),
        "patients": len({row.patient for row in rows}),
    }


def counted(rows: Sequence[Row], hit: Callable[[Row], bool]) -> Plain:
    """How many of some images, as a share with its interval."""
    return tally([hit(row) for row in rows], [row.patient for row in rows])


def tally(hits: Sequence[bool], patients: Sequence[str]) -> Plain:
    """How many of some things that belong to patients, as a share with its interval."""
    value, low, high = share(hits, patients)
    return {
        "value": None if value is None else round(value, 5),
        "low": round(low, 5),
        "high": round(high, 5),
        "count": sum(hits),
        "of": len(hits),
        "patients": len(set(patients)),
    }


def called(rows: Sequence[Row], verdict: str) -> Plain:
    """The share of images with one of VERDICTS."""
    return counted(rows, lambda row: column(row) == verdict)


def column(row: Row) -> str:
    """Which of VERDICTS an image gets; outside the domain is one kind of indeterminate."""
    return "outside the domain" if row.outside and row.verdict == "indeterminate" else row.verdict


def confusion(groups: Mapping[str, Sequence[Row]]) -> list[Plain]:
    """How the images of each group are called: counts and shares of each of VERDICTS."""
    return [
        {"group": name, "of": len(rows), "verdicts": {verdict: called(rows, verdict) for verdict in VERDICTS}}
        for name, rows in groups.items()
        if rows
    ]


def curves(rows: Sequence[Row]) -> Plain:
    """ROC (with a band of 95 % at each false alarm rate) and precision-recall, thinned, as plain lists."""
    table = make_table(rows)
    if not (table.fake.any() and (~table.fake).any()):
        return {}
    false, true = (np.concatenate([[0.0], rate[0]]) for rate in metrics.rates(table, table.weight[None]))
    grid = np.linspace(0, 1, 51)
    drawn: list[metrics.Array] = []

    def at_grid(which: Table, weights: metrics.Array) -> metrics.Array:
        many = zip(*metrics.rates(which, weights), strict=True)
        drawn.extend(np.interp(grid, np.r_[0, x], np.r_[0, y]) for x, y in many if np.isfinite(x[-1] + y[-1]))
        return np.zeros(len(weights))

    draws(table, at_grid, rounds=200)
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    precision = np.divide(true, true + false, out=np.ones_like(true), where=true + false > 0)
    kept = np.unique(np.linspace(0, len(false) - 1, min(_CURVE_POINTS, len(false))).round().astype(int))
    return {
        "false_alarms": _list(false[kept]),
        "found": _list(true[kept]),
        "precision": _list(precision[kept]),
        "band": {"false_alarms": _list(grid), "low": _list(low), "high": _list(high)},
    }


def reliability(rows: Sequence[Row]) -> list[Plain]:
    """The 15 bins of the reliability diagram that hold anything: mean probability, share of fakes, weight, images."""
    table = make_table(rows)
    if not len(table.score) or np.isnan(table.probability).any():
        return []
    weight, probability, fakes = (values[0] for values in metrics.calibration_bins(table, table.weight[None]))
    number = np.minimum((table.probability * metrics.BINS).astype(int), metrics.BINS - 1)
    images = np.bincount(number, minlength=metrics.BINS)
    return [
        {
            "bin": at,
            "probability": round(float(probability[at] / weight[at]), 5),
            "share_of_fakes": round(float(fakes[at] / weight[at]), 5),
            "weight": round(float(weight[at]), 5),
            "images": int(images[at]),
        }
        for at in range(metrics.BINS)
        if weight[at] > 0
    ]


def histogram(rows: Sequence[Row], bins: int = 40) -> Plain:
    """How the scores of clean images and fakes are spread: shares in equal bins, those beyond in the last."""
    inside = [row for row in rows if not row.outside]
    if not inside:
        return {}
    low, high = np.percentile([row.score for row in inside], [0.5, 99])
    edges = np.linspace(low, high + 1e-6, bins + 1)
    result: Plain = {"edges": _list(edges)}
    for name, fake in (("clean", False), ("fakes", True)):
        counts, _ = np.histogram(np.clip([row.score for row in inside if row.fake is fake], low, high), edges)
        result[name] = _list(counts / max(counts.sum(), 1))
    return result


def prevalence(clean: Sequence[Row], groups: Mapping[str, Sequence[Row]]) -> Plain:
    """The share of alarms that would be right where fakes are rare, as far as the number of clean images tells."""
    wrong = share([row.verdict == "fake" for row in clean], [row.patient for row in clean])
    patients = len({row.patient for row in clean})
    result: Plain = {
        "clean": len(clean),
        "false_alarms": called(clean, "fake"),
        "at_most_if_none": round(at_most(patients), 5),
        "rows": [],
    }
    for name, rows in groups.items():
        found = share([row.verdict == "fake" for row in rows], [row.patient for row in rows])
        if not rows or not clean or found[0] is None or wrong[0] is None:
            continue
        for rate in PREVALENCES:
            value = positive_predictive_value(rate, (found[0], *found[1:]), (wrong[0], *wrong[1:]))
            result["rows"].append({"group": name, "prevalence": rate} | value.as_mapping())
    return result


def _list(values: metrics.Array) -> list[float]:
    return [round(float(value), 5) for value in values]
