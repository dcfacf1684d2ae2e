"""From the table of rows and what is known of the run to the report as plain data: every number of report.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation import comparisons, measures
from training.evaluation.bars import bars
from training.evaluation.figures import card_figures
from training.evaluation.localisation import localisation
from training.evaluation.rows import Row
from training.evaluation.series import SEEN, UNSEEN, series_measures

Plain = dict[str, Any]
ALL = "all families"


def summarise(rows: Sequence[Row], context: Plain) -> Plain:
    """The whole report. ``context`` is what context.json keeps: detectors, conditions, probes, run, data."""
    detectors = context["detectors"]
    main = detectors[0]
    mine = [row for row in rows if row.detector == main["name"]]
    base = _base(rows, main["name"])
    grid = [row for row in mine if row.condition]
    groups = grouped(base, main["families"])
    clean = [row for row in base if not row.fake]
    fakes = {name: [row for row in part if row.fake] for name, part in groups.items()}
    profile = main["profile"]
    report: Plain = {
        "evaluated": context["evaluated"],
        "detectors": detectors,
        "groups": {name: measures.image_measures(part) for name, part in groups.items()},
        "confusion": measures.confusion(
            {"real images": clean} | {f"fakes, {name}": part for name, part in fakes.items()}
        ),
        "false_alarms": measures.called(clean, "fake"),
        "families": comparisons.families(base, main["families"]),
        "curves": {name: measures.curves(part) for name, part in groups.items()},
        "reliability": measures.reliability(base),
        "histogram": measures.histogram(base),
        "prevalence": measures.prevalence(clean, fakes),
        "brought": brought(mine, main["families"]),
        "strata": strata(base, main["families"]),
        "variants": variants(base, main["families"]),
        "series": series_measures(mine, profile, main["families"]),
        "localisation": localisation(base, -profile["intercept"] / profile["slope"]),
        "robustness": comparisons.robustness(base, grid, context["conditions"]),
        "outside": outside(context["outside"]),
        "probes": context["probes"],
        "history": context["history"],
        "matrix": matrix(rows, detectors),
        "baselines": baselines(rows, detectors, groups),
    }
    report["sentences"] = [*report["baselines"]["sentences"], *comparisons.probe_sentences(report["probes"])]
    report["bars"] = bars(report)
    report["figures"] = card_figures(report, base, context)
    return report


def grouped(base: Sequence[Row], trained: Sequence[str]) -> dict[str, list[Row]]:
    """Clean images with the fakes of the training's families, with those of other families, and with all."""
    groups = {
        SEEN: [row for row in base if not row.fake or row.family in trained],
        UNSEEN: [row for row in base if not row.fake or row.family not in trained],
        ALL: list(base),
    }
    return {name: rows for name, rows in groups.items() if any(row.fake for row in rows)}


def strata(base: Sequence[Row], trained: Sequence[str]) -> list[Plain]:
    """The same figures for slices with and without lung, where both exist."""
    parts = {
        "slices with lung": [row for row in base if row.lung_fraction > 0.1],
        "slices without lung": [row for row in base if row.lung_fraction <= 0.1],
    }
    if not all(parts.values()):
        return []
    return [
        {"stratum": name, "group": group} | measures.image_measures(rows)
        for name, part in parts.items()
        for group, rows in grouped(part, trained).items()
    ]


def variants(base: Sequence[Row], trained: Sequence[str]) -> list[Plain]:
    """False alarms and AUC of published images and of their cleaned variants apart, where there are both."""
    parts = {
        "as published": [row for row in base if not row.cleaned],
        "cleaned": [row for row in base if row.cleaned],
    }
    if not all(parts.values()):
        return []
    return [
        {
            "variant": name,
            "group": group,
            "false_alarms": measures.called([row for row in rows if not row.fake], "fake"),
        }
        | measures.image_measures(rows)
        for name, part in parts.items()
        for group, rows in grouped(part, trained).items()
    ]


def brought(rows: Sequence[Row], trained: Sequence[str]) -> list[Plain]:
    """Data sets with fakes of their own: the fakes against the real images of the same set."""
    result = []
    for source in sorted({row.source for row in rows} - {""}):
        mine = [row for row in rows if row.source == source]
        clean = [row for row in mine if not row.fake]
        entry = {"source": source, "false_alarms": measures.called(clean, "fake")}
        result.append(entry | measures.image_measures(mine) | {"families": comparisons.families(mine, trained)})
    return result


def outside(found: Sequence[Plain]) -> Plain:
    """Images of other kinds: how each kind was called, and how many were answered with real or fake."""
    kinds: dict[str, list[Plain]] = {}
    for item in found:
        kinds.setdefault(f"{item['kind']}: {item['way']}", []).append(item)
    answered = sum(item["verdict"] in ("real", "fake") for item in found)
    return {
        "answered": {"count": answered, "of": len(found)},
        "kinds": [
            {
                "kind": kind,
                "of": len(items),
                "refused": sum(bool(item["outside"]) for item in items),
                "verdicts": {name: sum(item["verdict"] == name for item in items) for name in _LABELS},
                "answered": [item["name"] for item in items if item["verdict"] in ("real", "fake")],
                "reasons": sorted({item["outside"] for item in items if item["outside"]}),
            }
            for kind, items in kinds.items()
        ],
    }


_LABELS = ("real", "indeterminate", "fake", "not assessed")


def matrix(rows: Sequence[Row], detectors: Sequence[Plain]) -> Plain:
    """The train-family × test-family matrix: one row for each bundle."""
    bundles = [item for item in detectors if item["kind"] == "bundle"]
    return comparisons.matrix(
        {item["name"]: _base(rows, item["name"]) for item in bundles},
        {item["name"]: item["families"] for item in bundles},
    )


def baselines(rows: Sequence[Row], detectors: Sequence[Plain], groups: Mapping[str, Sequence[Row]]) -> Plain:
    """The model against every detector that isn't a bundle, by group and by family."""
    seen = detectors[0]["families"]
    main = _with_families(groups)
    others = {
        item["name"]: _with_families(grouped(_base(rows, item["name"]), seen))
        for item in detectors[1:]
        if item["kind"] != "bundle"
    }
    found = comparisons.baselines(main, others, {item["name"]: item["kind"] for item in detectors})
    effort = [f"{item['name']} learnt from {item['effort']}." for item in detectors if item.get("effort")]
    return found | {"effort": effort}


def _with_families(groups: Mapping[str, Sequence[Row]]) -> dict[str, Sequence[Row]]:
    rows = groups.get(ALL, ())
    clean = [row for row in rows if not row.fake]
    each = {
        family: [*clean, *(row for row in rows if row.family == family)] for family in comparisons.families_of(rows)
    }
    return dict(groups) | each


def _base(rows: Sequence[Row], name: str) -> list[Row]:
    return [row for row in rows if row.detector == name and not (row.condition or row.run or row.source)]


def plain(value: Any) -> Any:
    """The same data without NaN and infinity, which JSON doesn't know."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
