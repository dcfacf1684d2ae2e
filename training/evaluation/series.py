"""Series: neighbouring slices pooled as the node pools them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medfake_pacs.entities import VerdictLabel
from medfake_pacs.verdict import Limits, limits_for
from training.baselines.ranking import area
from training.evaluation.intervals import wilson
from training.evaluation.measures import tally
from training.evaluation.rows import CLEAN, Row

Plain = dict[str, Any]
SEEN, UNSEEN = "seen", "never seen"


def best_run(scores: Sequence[float], length: int) -> float:
    """The highest mean of ``length`` neighbours, or of all where there are fewer: a series' score."""
    width = min(length, len(scores))
    return float(np.convolve(scores, np.full(width, 1 / width), mode="valid").max())


def series_of(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Every series in the rows of ``Scorer.series``: (family, slices in order), edited slices in their place."""
    clean: dict[tuple[str, str, bool], list[Row]] = {}
    edits: dict[tuple[str, str, bool, str], list[Row]] = {}
    for row in rows:
        # The slices as published and the cleaned ones are two series.
        key = (row.patient, row.series, row.cleaned)
        if row.run == CLEAN:
            clean.setdefault(key, []).append(row)
        elif row.run:
            edits.setdefault((*key, row.run), []).append(row)
    found = [(CLEAN, slices) for slices in clean.values()]
    for (*key, _), edited in edits.items():
        by_name = {row.name: row for row in edited}
        whole = [by_name.get(row.name, row) for row in clean[key[0], key[1], key[2]]]  # type: ignore[index]
        found.append((edited[0].family, whole))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One series: the logit of its best run (-inf where every slice is refused) and what that amounts to."""

    family: str
    patient: str
    slices: int
    score: float
    verdict: str


def series_measures(rows: Sequence[Row], profile: Plain, trained: Sequence[str] = ()) -> Plain:
    """Clean series called fake, edited ones found, and the AUC of series by group; {} without series."""
    scored = [_scored(family, slices, profile) for family, slices in series_of(rows)]
    clean = [one for one in scored if one.family == CLEAN]
    if not clean:
        return {}
    listed = [
        {"patient": one.patient, "slices": one.slices, "score": round(one.score, 4), "verdict": one.verdict}
        for one in clean
        if one.slices
    ]
    result: Plain = {"contiguous": profile["contiguous"], "clean": listed, "clean_fake": _called_fake(clean)}
    edited = [one for one in scored if one.family != CLEAN]
    result["families"] = [
        {"family": family, "called_fake": _called_fake([one for one in edited if one.family == family])}
        for family in sorted({one.family for one in edited})
    ]
    groups = {
        SEEN: [one for one in edited if one.family in trained],
        UNSEEN: [one for one in edited if one.family not in trained],
    }
    result["groups"] = {name: {"auc": series_auc(clean, fakes)} for name, fakes in groups.items() if fakes}
    return result


def series_auc(clean: Sequence[Scored], edited: Sequence[Scored]) -> Plain:
    """The AUC of edited series against clean ones, with the counts that it rests on.

    The interval is Wilson's with one trial for each patient of whom there is a clean series: a mean of values between
    0 and 1 spreads no wider than that of hits and misses. A bootstrap of two patients would be a point.
    """
    value = area([one.score for one in clean], [one.score for one in edited])
    patients = len({one.patient for one in clean})
    low, high = wilson(value * patients, patients)
    figure = {"value": round(value, 5), "low": round(low, 5), "high": round(high, 5)}
    return figure | {"clean": len(clean), "edited": len(edited), "patients": patients}


def _scored(family: str, slices: Sequence[Row], profile: Plain) -> Scored:
    inside = [row for row in slices if not row.outside]
    score = best_run([row.score for row in inside], profile["contiguous"]) if inside else -math.inf
    verdict = verdict_of(inside, score, profile) if inside else VerdictLabel.INDETERMINATE.value
    return Scored(family=family, patient=slices[0].patient, slices=len(inside), score=score, verdict=verdict)


def _called_fake(scored: Sequence[Scored]) -> Plain:
    return tally([one.verdict == "fake" for one in scored], [one.patient for one in scored])


def verdict_of(slices: Sequence[Row], score: float, profile: Plain) -> str:
    """What the highest pooled logit of some slices inside the domain amounts to by a card's limits."""
    windows = len(slices) - min(profile["contiguous"], len(slices)) + 1
    limits = {
        (entry["lossy"], entry["several"]): Limits(real_to=entry["real_to"], fake_from=entry["fake_from"])
        for entry in profile["limits"]
    }
    found = limits_for(limits, lossy=slices[0].lossy, windows=windows)
    return found.label(score).value if found else VerdictLabel.INDETERMINATE.value
