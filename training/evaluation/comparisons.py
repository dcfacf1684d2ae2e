"""Figures that compare: families by detector, conditions with none, baselines with the model; and sentences on them."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation import metrics
from training.evaluation.intervals import difference, estimate
from training.evaluation.measures import called, counted, ranking_of_all, refused_lowest
from training.evaluation.metrics import make_table
from training.evaluation.rows import Row

Plain = dict[str, Any]


def families(rows: Sequence[Row], seen: Sequence[str]) -> list[Plain]:
    """For each family of fakes: ranking against the clean images, and how the fakes are called."""
    clean = [row for row in rows if not row.fake]
    result = []
    for family in families_of(rows):
        fakes = [row for row in rows if row.family == family]
        table = make_table([*clean, *fakes])
        result.append(
            {
                "family": family,
                "seen": family in seen,
                "fakes": len(fakes),
                "auc": estimate(table, metrics.auc).as_mapping(),
                **ranking_of_all([*clean, *fakes]),
                "detection_at_1_percent": estimate(table, metrics.detection_at(0.01)).as_mapping(),
                "detection_at_0.1_percent": estimate(table, metrics.detection_at(0.001)).as_mapping(),
                "called_fake": called(fakes, "fake"),
                "called_real": called(fakes, "real"),
            }
        )
    return sorted(result, key=lambda item: (not item["seen"], item["family"]))


def families_of(rows: Sequence[Row]) -> list[str]:
    """The families of the fakes among some rows."""
    return sorted({row.family for row in rows if row.fake})


def matrix(by_detector: Mapping[str, Sequence[Row]], trained: Mapping[str, Sequence[str]]) -> Plain:
    """AUC of every detector (a row) on every family (a column); ``seen`` marks what a detector was trained on."""
    columns = families_of([row for rows in by_detector.values() for row in rows])
    lines = []
    for name, rows in by_detector.items():
        clean = [row for row in rows if not row.fake]
        cells = []
        for family in columns:
            table = make_table([*clean, *(row for row in rows if row.family == family)])
            cells.append(
                {"family": family, "seen": family in trained[name]} | estimate(table, metrics.auc).as_mapping()
            )
        lines.append({"detector": name, "trained_on": list(trained[name]), "cells": cells})
    return {"families": columns, "rows": lines}


def robustness(base: Sequence[Row], grid: Sequence[Row], order: Sequence[str]) -> Plain:
    """Every condition beside the same images untouched: false alarms, abstentions and AUC."""
    result: Plain = {"rows": []}
    if not grid:
        return result
    images = {(row.name, row.family) for row in grid}
    same = [row for row in base if (row.name, row.family) in images]
    result["rows"].append({"condition": "untouched"} | _conditioned(same))
    for name in order:
        rows = [row for row in grid if row.condition == name]
        if rows:
            result["rows"].append({"condition": name} | _conditioned(rows))
    return result


def _conditioned(rows: Sequence[Row]) -> Plain:
    clean, fakes = ([row for row in rows if row.fake is fake] for fake in (False, True))
    undecided = [counted(part, lambda row: row.verdict in ("indeterminate", "not assessed")) for part in (clean, fakes)]
    return {
        "clean": len(clean),
        "fakes": len(fakes),
        "clean_fake": called(clean, "fake"),
        "clean_real": called(clean, "real"),
        "clean_undecided": undecided[0],
        "fakes_fake": called(fakes, "fake"),
        "fakes_real": called(fakes, "real"),
        "fakes_undecided": undecided[1],
        "outside": counted(rows, lambda row: bool(row.outside)),
        "auc": estimate(make_table(rows), metrics.auc).as_mapping(),
        **ranking_of_all(rows),
    }


def baselines(
    main: Mapping[str, Sequence[Row]], others: Mapping[str, Mapping[str, Sequence[Row]]], kinds: Mapping[str, str]
) -> Plain:
    """AUC of each other detector by group of images, and the model's advantage with paired draws.

    ``main`` and each of ``others`` map a group's name to the rows of that group. Images that the model refuses are
    left out for the others too, so that both are measured on the same; ``difference_of_all`` is on all images, with
    those that the model refuses ranked lowest by it.
    """
    result: Plain = {"detectors": []}
    for name, groups in others.items():
        entry: Plain = {"name": name, "kind": kinds.get(name, ""), "groups": {}}
        for group, rows in groups.items():
            accepted = {(row.name, row.family) for row in main[group] if not row.outside}
            theirs = [row for row in rows if (row.name, row.family) in accepted]
            patients = sorted({row.patient for row in main[group]})
            ours, others_table = make_table(main[group], patients), make_table(theirs, patients)
            whole = make_table(refused_lowest(main[group]), patients), make_table(refused_lowest(rows), patients)
            entry["groups"][group] = {
                "auc": estimate(others_table, metrics.auc).as_mapping(),
                "ours": estimate(ours, metrics.auc).as_mapping(),
                "difference": difference(ours, others_table, metrics.auc).as_mapping(),
                "difference_of_all": difference(*whole, metrics.auc).as_mapping(),
            }
        result["detectors"].append(entry)
    result["sentences"] = baseline_sentences(result["detectors"])
    return result


def baseline_sentences(detectors: Sequence[Plain]) -> list[str]:
    """Says where a baseline is better than the model, and where the difference is beyond chance either way."""
    sentences = []
    for entry in detectors:
        wins = [
            f"{group} (AUC {values['auc']['value']:.3f} against {values['ours']['value']:.3f}"
            + (", beyond chance)" if values["difference"]["high"] < 0 else ", within chance)")
            for group, values in entry["groups"].items()
            if values["difference"]["value"] is not None and values["difference"]["value"] < 0
        ]
        if wins:
            sentences.append(f"{entry['name']} is better than the model on {'; '.join(wins)}.")
        elif entry["groups"]:
            sentences.append(f"{entry['name']} is nowhere better than the model.")
    return sentences


def probe_sentences(probes: Sequence[Plain]) -> list[str]:
    """Names the shortcuts that tell fakes from real images."""
    found = [
        f"The shortcut probe “{probe['name']}” is not near chance: AUC {probe['auc']:.3f} "
        f"({probe['low']:.3f} to {probe['high']:.3f}). A detector could have learnt this instead of traces of an edit."
        for probe in probes
        if not probe["near_chance"]
    ]
    if probes and not found:
        return [f"All {len(probes)} shortcut probes are near chance."]
    return found
