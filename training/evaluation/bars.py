"""The bars that are set for a model, and whether a report's figures meet them."""

from collections.abc import Mapping
from typing import Any

Plain = dict[str, Any]
# AUC on held-out patients: families of the training, and families never trained on.
AUC: Mapping[str, tuple[float, float]] = {"knee-xr": (0.98, 0.90), "chest-xr": (0.95, 0.85), "lung-ct": (0.95, 0.85)}
# Configurations of series: what holds of a slice doesn't hold of the best of hundreds.
SERIES = ("lung-ct",)
_GROUPS: Mapping[str, str] = {"seen": "families of the training", "never seen": "families never trained on"}
FALSE_ALARMS = 0.01
PLAIN = "plain network"
COMPRESSED = ("JPEG q90", "J2K 10:1")


def bars(report: Plain) -> list[Plain]:
    """Every bar of the model with the figure that is held against it, met or missed; not measured counts as missed."""
    name = report["evaluated"]["configuration"]
    groups = report["groups"]
    found = []
    images = "single slices" if name in SERIES else "images"
    if name in AUC:
        for (group, what), bar in zip(_GROUPS.items(), AUC[name], strict=True):
            of = " of single slices" if name in SERIES else ""
            found.append(_at_least(f"AUC{of}, held-out patients, {what}", bar, _auc(groups, group)))
    found.append(_above_plain(report))
    found.append(_at_most(f"clean held-out {images} called fake", FALSE_ALARMS, report["false_alarms"]))
    for condition in COMPRESSED:
        row = next((row for row in report["robustness"]["rows"] if row["condition"] == condition), None)
        if row is not None:
            found.append(_at_most(f"clean {images} called fake after {condition}", FALSE_ALARMS, row["clean_fake"]))
    if name in SERIES:
        found += _series(name, report["series"])
    found.append(_outside(report["outside"]))
    found += [_probe(probe) for probe in report["probes"]]
    return found


def _series(name: str, series: Plain) -> list[Plain]:
    """A series bar is met only where the whole interval meets it: test patients with whole series are few."""
    found = []
    for (group, what), bar in zip(_GROUPS.items(), AUC[name], strict=True):
        title, figure = f"AUC of series, held-out patients, {what}", series.get("groups", {}).get(group, {}).get("auc")
        met = figure is not None and figure["low"] >= bar
        found.append(_bar(title, f"≥ {bar:.2f}", figure, met=met, note=_few(figure, met=met)))
    alarms = series.get("clean_fake")
    met = alarms is not None and alarms["high"] <= FALSE_ALARMS
    note = _few(alarms and alarms | {"clean": alarms["of"]}, met=met)
    return [*found, _bar("clean series called fake", f"≤ {FALSE_ALARMS * 100:g} %", alarms, met=met, note=note)]


def _few(figure: Plain | None, *, met: bool) -> str:
    if figure is None:
        return "not measured"
    size = f"n = {figure['clean']} clean series of {figure['patients']} patients"
    return size if met else f"{size}; the whole interval has to meet the bar"


def _auc(groups: Plain, group: str) -> Plain | None:
    """A group's AUC of all images, with how many of them the model doesn't refuse."""
    if group not in groups:
        return None
    return groups[group]["auc_of_all"] | {key: groups[group][key] for key in ("scored", "of")}


def _bar(what: str, bar: str, figure: Plain | None, met: bool, note: str = "") -> Plain:
    keys = ("value", "low", "high", "count", "scored", "of")
    kept = {key: figure.get(key) for key in keys} if figure else {}
    return {"what": what, "bar": bar, "met": met, "note": note} | kept


def _at_least(what: str, bar: float, figure: Plain | None) -> Plain:
    if figure is None or figure["value"] is None:
        return _bar(what, f"≥ {bar:.2f}", None, met=False, note="not measured")
    met = figure["value"] >= bar
    unsure = figure["low"] is not None and figure["low"] < bar <= figure["high"]
    notes = ["the interval holds the bar"] if unsure else []
    if figure["scored"] < figure["of"]:
        notes.append(f"{figure['of'] - figure['scored']} of {figure['of']} images refused: ranked lowest")
    return _bar(what, f"≥ {bar:.2f}", figure, met=met, note="; ".join(notes))


def _at_most(what: str, bar: float, figure: Plain) -> Plain:
    if figure["value"] is None:
        return _bar(what, f"≤ {bar * 100:g} %", None, met=False, note="not measured")
    met = figure["value"] <= bar
    unsure = figure["low"] <= bar < figure["high"]
    return _bar(
        what, f"≤ {bar * 100:g} %", figure, met=met, note="the interval reaches beyond the bar" if unsure else ""
    )


def _above_plain(report: Plain) -> Plain:
    what = "AUC on families never trained on, above the plain 224-px network's"
    plain = next((item for item in report["baselines"]["detectors"] if item["kind"] == PLAIN), None)
    group = plain["groups"].get("never seen") if plain else None
    if group is None or group["difference_of_all"]["value"] is None:
        return _bar(what, "> 0", None, met=False, note="not measured")
    figure = group["difference_of_all"]
    met = figure["low"] is not None and figure["low"] > 0
    return _bar(what, "> 0", figure, met=met, note="the whole interval has to lie above")


def _outside(outside: Plain) -> Plain:
    what = "images of other kinds: indeterminate or not assessed"
    figure = outside["answered"]
    if not figure["of"]:
        return _bar(what, "all", None, met=False, note="not measured")
    refused = {"value": figure["of"] - figure["count"], "count": figure["of"] - figure["count"], "of": figure["of"]}
    refused["value"] = round(refused["count"] / figure["of"], 5)
    return _bar(what, "all", refused, met=figure["count"] == 0)


def _probe(probe: Plain) -> Plain:
    figure = {"value": probe["auc"], "low": probe["low"], "high": probe["high"]}
    return _bar(f"shortcut probe near chance: {probe['name']}", "AUC near 0.5", figure, met=probe["near_chance"])
