"""Shortcut probes: what must not tell a real image from a fake, asked of small classifiers and of the detector.

Source: the ways in which others fooled themselves: sizes, histograms and codecs that differ by class ("Fake or JPEG?",
Grommelt et al. 2024; Chen et al. on medical deepfakes). A probe that is not near chance names a shortcut of the data,
not a merit of a detector.
"""

from collections.abc import Callable, Sequence
from typing import Any

from training.baselines.detector import Detector
from training.datasets import Sample
from training.probes import classifiers, codecs, covered, facts, pairs
from training.probes.facts import Facts
from training.probes.pairs import Item
from training.probes.result import ProbeResult, measured, measured_often
from training.setting import Setting

__all__ = ["ProbeResult", "run", "run_by_family", "run_on"]

_KINDS = ("local edits", "whole images")


def run(
    setting: Setting,
    detector: Detector | None = None,
    *,
    seed: int = 0,
    rounds: int = 1000,
    images: int = 200,
    samples: Sequence[Sample] = (),
) -> list[ProbeResult]:
    """All probes on forged pairs, and on ``samples`` where they hold a data set's own fakes.

    ``images``: real images in each group at most. ``rounds``: bootstrap draws of patients. The classifiers use all
    patients, cross-validated by patient; the detector scores test patients alone, and as many images as a quarter
    of ``images``. What hides the edit applies to local edits: a redrawn image has no place to hide.
    """
    result: list[ProbeResult] = []
    for kind, families in zip(_KINDS, pairs.kinds(setting), strict=True):
        if families:
            items = pairs.forged(setting, families, images=images, seed=seed)
            result += _content_free(items, kind, rounds=rounds, seed=seed)
            if kind == _KINDS[0]:
                result += _hidden(items, kind, None, rounds=rounds, seed=seed)
    if detector is not None:
        result += _of_detector(setting, detector, images=max(1, images // 4), rounds=rounds, seed=seed)
    if any(sample.label == "fake" for sample in samples):
        result += run_on(samples, detector, seed=seed, rounds=rounds, images=images)
    return result


def run_on(
    samples: Sequence[Sample],
    detector: Detector | None = None,
    *,
    seed: int = 0,
    rounds: int = 1000,
    images: int = 200,
) -> list[ProbeResult]:
    """The probes on a data set's own real images and fakes, stored facts included; codecs are not swapped."""
    items = pairs.brought(samples, images=images, seed=seed)
    kind = "the data set's own fakes"
    result = _content_free(items, kind, rounds=rounds, seed=seed)
    if any(item.fake and item.box is not None for item in items):
        result += _hidden(items, kind, None, rounds=rounds, seed=seed)
        if detector is not None:
            few = pairs.brought(samples, images=max(1, images // 4), seed=seed)
            result += _hidden(few, kind, detector, rounds=rounds, seed=seed)
    return result


def run_by_family(setting: Setting, *, seed: int = 0, rounds: int = 300, images: int = 200) -> list[ProbeResult]:
    """The content-free probes of each family alone: where a leak comes from."""
    result: list[ProbeResult] = []
    for family in (*pairs.kinds(setting)[0], *pairs.kinds(setting)[1]):
        items = pairs.forged(setting, (family,), images=images, seed=seed)
        result += _content_free(items, family, rounds=rounds, seed=seed)
    return result


def _content_free(items: Sequence[Item], kind: str, *, rounds: int, seed: int) -> list[ProbeResult]:
    result = []
    for name, what, look, model in _looks(kind):
        scores = classifiers.cross_validated(items, look(items), model, seed)
        result.append(measured_often(f"{name}, {kind}", what, scores, rounds=rounds, seed=seed))
    return result


def _looks(kind: str) -> list[tuple[str, str, Facts, Callable[[int], Any]]]:
    """Name, what it sees, how it sees it, and the classifier of each content-free probe."""
    size = "size after a lossless codec"
    first = (facts.metadata, size) if kind != _KINDS[1] else (facts.header, f"not the {size}: redrawing changes noise")
    return [
        ("metadata only", f"shape, range, number of values, stored facts, {first[1]}", first[0], classifiers.forest),
        ("histogram only", "plateaus, gaps, even values, roughness", facts.histogram, classifiers.forest),
        (
            "8-px grid only",
            "mean step at each of eight phases, as JPEG leaves it",
            facts.block_grid,
            classifiers.forest,
        ),
        ("thumbnail", "32 by 32 px, logistic regression", facts.thumbnail, classifiers.linear),
    ]


def _hidden(
    items: Sequence[Item], kind: str, detector: Detector | None, *, rounds: int, seed: int
) -> list[ProbeResult]:
    views = (
        ("box masked out", "the edited place is filled in both classes", covered.without_box(items, seed=seed)),
        ("border only", "the outer 16 px, edits that reach them left out", covered.border_only(items)),
    )
    drawn = {"rounds": rounds, "seed": seed}
    result = []
    for name, what, seen in views:
        if len({item.patient for item in seen}) < 2 or len({item.fake for item in seen}) < 2:
            continue
        label, text = f"{name}, {kind}", f"{what}; for edits of a place only"
        if detector is None:
            repeats = covered.by_classifier(seen, seed=seed)
            result.append(measured_often(f"{label}, a small classifier", text, repeats, **drawn))
        else:
            scores = covered.by_detector(detector, seen)
            result.append(measured(f"{label}, the detector", text, scores, **drawn))
    return result


def _of_detector(setting: Setting, detector: Detector, *, images: int, rounds: int, seed: int) -> list[ProbeResult]:
    families = pairs.kinds(setting)[0] or pairs.kinds(setting)[1]
    items = pairs.forged(setting, families, images=images, seed=seed, parts=("test",))
    result = []
    if pairs.kinds(setting)[0]:
        result += _hidden(items, _KINDS[0], detector, rounds=rounds, seed=seed)
    hounsfield = setting.configuration.sampling.hounsfield
    return result + codecs.swap(items, detector, hounsfield=hounsfield, rounds=rounds, seed=seed)
