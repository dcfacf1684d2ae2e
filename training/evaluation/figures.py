"""The figures that a card keeps: what was measured, on how much, with which interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluation.rows import Row

Figure = dict[str, Any]
REFERENCE = "quantiles of the pooled logit of clean images"
UNTOUCHED = "uncompressed"
_QUANTILES = 51


def card_figures(report: Figure, base: Sequence[Row], context: Figure) -> list[Figure]:
    """The card's figures of a report, each with the command that made it."""
    found = [*image_figures(report), *condition_figures(report), *series_figures(report)]
    if any(not row.outside for row in base if not row.fake):
        found.append(reference_figure(base))
    return [{**figure, "command": context["evaluated"]["command"]} for figure in found]


def image_figures(report: Figure) -> list[Figure]:
    """AUC and detection for each family, and false alarms on clean images."""
    clean = report["confusion"][0]["verdicts"]
    result = [
        _share("clean images outside the domain", clean["outside the domain"]),
        _share("clean images called fake", clean["fake"]),
        _share("clean images called real", clean["real"]),
    ]
    for family in report["families"]:
        kind = _kind(family["seen"])
        area = _area(f"AUC, {family['family']} ({kind})", family["auc"], report, family["fakes"])
        result.append(area | {"scored": family["scored"]})
        result.append(_share(f"fakes called fake, {family['family']} ({kind})", family["called_fake"]))
        result.append(_share(f"fakes called real, {family['family']} ({kind})", family["called_real"]))
    for name, seen in (("seen", True), ("never seen", False)):
        if name in report["groups"]:
            group = report["groups"][name]
            for what, key in (("", "auc"), (", refused images ranked lowest", "auc_of_all")):
                area = _area(f"AUC, all families {_kind(seen)}{what}", group[key], report, group["fakes"])
                result.append(area | ({"scored": group["scored"]} if key == "auc" else {}))
    result += variant_figures(report)
    if report["localisation"].get("images"):
        found = report["localisation"]
        for what, key in (("IoU of the map with the mask", "iou"), ("hottest cell lies in the edit", "pointing")):
            size = {"fakes": found["images"], "patients": found["patients"]}
            result.append(_estimate(f"local fakes: {what}", found[key]) | size)
    return result


def variant_figures(report: Figure) -> list[Figure]:
    """False alarms and AUC on published images and on their cleaned variants apart."""
    result = []
    for one in report["variants"]:
        if one["group"] == "all families":
            result.append(_share("clean images called fake", one["false_alarms"], one["variant"]))
            continue
        size = {key: one[key] for key in ("clean", "fakes", "patients", "scored")}
        what = f"AUC, all families {_kind(one['group'] == 'seen')}"
        result.append(_estimate(what, one["auc"], one["variant"]) | size)
    return result


def condition_figures(report: Figure) -> list[Figure]:
    """False alarms, abstentions and AUC under each condition of the robustness grid."""
    result = []
    for row in report["robustness"]["rows"][1:]:
        name = row["condition"]
        result.append(_share("clean images called fake", row["clean_fake"], name))
        result.append(_share("clean images neither real nor fake", row["clean_undecided"], name))
        result.append(_share("fakes called real, families in turn", row["fakes_real"], name))
        area = _area("AUC, families in turn", row["auc"], report, row["fakes"], name)
        result.append(area | {"clean": row["clean"], "scored": row["scored"]})
    return result


def series_figures(report: Figure) -> list[Figure]:
    """The score of each clean volume, and how many edited volumes are called fake."""
    series = report["series"]
    result = [
        {
            "what": f"clean series, logit of its best run: called {one['verdict']}",
            "condition": f"{one['slices']} slices",
            "value": one["score"],
            "of": 1,
            "patients": 1,
        }
        for one in series.get("clean", ())
    ]
    if series:
        result.append(_share("clean series called fake", series["clean_fake"]))
    for name, group in series.get("groups", {}).items():
        found = group["auc"]
        size = {"clean": found["clean"], "fakes": found["edited"], "patients": found["patients"]}
        result.append(
            _estimate(f"AUC of series, all families {_kind(name == 'seen')}", found, "in places drawn") | size
        )
    for family in series.get("families", ()):
        result.append(
            _share(f"edited series called fake, {family['family']}", family["called_fake"], "in places drawn")
        )
    return result


def reference_figure(rows: Sequence[Row]) -> Figure:
    """How the scores of clean images inside the domain are spread: what a node compares its own images with.

    ``quantiles`` are evenly spaced from the lowest score to the highest; ``value`` is the median.

    Raises: ValueError where no clean image is inside.
    """
    clean = [row for row in rows if not row.fake and not row.condition and not row.run]
    inside = [row for row in clean if not row.outside]
    if not inside:
        raise ValueError("no clean image is inside the model's domain: there is nothing to compare with")
    quantiles = np.quantile([row.score for row in inside], np.linspace(0, 1, _QUANTILES))
    return {
        "what": REFERENCE,
        "condition": UNTOUCHED,
        "value": round(float(np.median([row.score for row in inside])), 4),
        "quantiles": [round(float(value), 4) for value in quantiles],
        "count": len(inside),
        "of": len(clean),
        "patients": len({row.patient for row in inside}),
    }


def line(figure: Figure) -> str:
    """A figure as a row of a Markdown table."""
    low, high = figure.get("interval_95") or (None, None)
    interval = "" if low is None else f"{low:.3f} to {high:.3f}"
    if "quantiles" in figure:
        interval = f"{figure['quantiles'][0]:.3f} to {figure['quantiles'][-1]:.3f} (lowest, highest)"
    size = f"{figure['fakes']} fakes" if "fakes" in figure else f"{figure.get('count', 1)} of {figure['of']}"
    value = "" if figure["value"] is None else f"{figure['value']:.3f}"
    return f"| {figure['what']} | {figure['condition']} | {value} | {interval} | {size} | {figure.get('patients', 1)} |"


def _kind(seen: bool) -> str:
    return "in training" if seen else "held out of training"


def _estimate(what: str, found: Figure, condition: str = UNTOUCHED) -> Figure:
    figure: Figure = {"what": what, "condition": condition, "value": _rounded(found["value"])}
    if found["low"] is not None and found["high"] is not None:
        figure["interval_95"] = [_rounded(found["low"]), _rounded(found["high"])]
    return figure


def _share(what: str, found: Figure, condition: str = UNTOUCHED) -> Figure:
    return _estimate(what, found, condition) | {key: found[key] for key in ("count", "of", "patients")}


def _area(what: str, found: Figure, report: Figure, fakes: int, condition: str = UNTOUCHED) -> Figure:
    clean = report["confusion"][0]["of"]
    patients = report["false_alarms"]["patients"]
    return _estimate(what, found, condition) | {"clean": clean, "fakes": fakes, "patients": patients}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
