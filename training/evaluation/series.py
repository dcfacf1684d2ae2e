"""Series: neighbouring slices pooled as the node pools them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medfake_pacs.entities import VerdictLabel
from medfake_pacs.verdict import Limits
from training.evaluation.measures import tally
from training.evaluation.rows import CLEAN, Row

Plain = dict[str, Any]


def best_run(scores: Sequence[float], length: int) -> float:
    """The highest mean of ``length`` neighbours, or of all where there are fewer: a series' score."""
    width = min(length, len(scores))
    return float(np.convolve(scores, np.full(width, 1 / width), mode="valid").max())


def series_of(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Every series in the rows of ``Scorer.series``: (family, slices in order), edited slices in their place."""
    clean: dict[tuple[str, str], list[Row]] = {}
    edits: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.run == CLEAN:
            clean.setdefault((row.patient, row.series), []).append(row)
        elif row.run:
            edits.setdefault((row.patient, row.series, row.run), []).append(row)
    found = [(CLEAN, slices) for slices in clean.values()]
    for (patient, series, _), edited in edits.items():
        by_name = {row.name: row for row in edited}
        whole = [by_name.get(row.name, row) for row in clean[patient, series]]
        found.append((edited[0].family, whole))
    return found


def series_measures(rows: Sequence[Row], profile: Plain) -> Plain:
    """Clean series called fake and edited ones found, with the score of each clean series; {} without series."""
    found = [(family, [row for row in slices if not row.outside]) for family, slices in series_of(rows)]
    labelled = []
    result: Plain = {"contiguous": profile["contiguous"], "clean": [], "families": []}
    for family, slices in found:
        if not slices:
            continue
        score = best_run([row.score for row in slices], profile["contiguous"])
        verdict = verdict_of(slices, score, profile)
        labelled.append((family, slices[0], verdict))
        if family == CLEAN:
            one = {"patient": slices[0].patient, "slices": len(slices), "score": round(score, 4)}
            result["clean"].append(one | {"verdict": verdict})
    if not labelled:
        return {}
    for family in sorted({family for family, _, _ in labelled} - {CLEAN}):
        verdicts = [(first, verdict) for one, first, verdict in labelled if one == family]
        found_fake = tally([verdict == "fake" for _, verdict in verdicts], [first.patient for first, _ in verdicts])
        result["families"].append({"family": family, "called_fake": found_fake})
    return result


def verdict_of(slices: Sequence[Row], score: float, profile: Plain) -> str:
    """What the highest pooled logit of some slices inside the domain amounts to by a card's limits."""
    windows = len(slices) - min(profile["contiguous"], len(slices)) + 1
    limits = {(entry["lossy"], entry["several"]): entry for entry in profile["limits"]}
    lossy = slices[0].lossy
    found = (limits.get((lossy, True)) if windows > 1 else None) or limits.get((lossy, False))
    if found is None:
        return VerdictLabel.INDETERMINATE.value
    return Limits(real_to=found["real_to"], fake_from=found["fake_from"]).label(score).value
