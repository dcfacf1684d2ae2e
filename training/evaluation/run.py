"""One evaluation: scores, table, report. What is written: rows.jsonl, context.json, report.json and report.html."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import track

from training import probes
from training.baselines import (
    Detector,
    fit_residual_statistics,
    load_residual_statistics,
    train_plain224,
)
from training.datasets import Sample
from training.evaluation import effort, outside
from training.evaluation.bars import PLAIN
from training.evaluation.conditions import Condition, grid, honest
from training.evaluation.detectors import ClassifierDetector
from training.evaluation.machine import data_digest, machine, split_sizes, today
from training.evaluation.page import page
from training.evaluation.rows import Row, read_rows, write_rows
from training.evaluation.scoring import Job, Scorer
from training.evaluation.summary import plain, summarise
from training.evaluation.unseen import left_out, unseen
from training.setting import Setting

TEST_SEED, SERIES_SEED = 202, 303
ROWS, CONTEXT, REPORT, PAGE = "rows.jsonl", "context.json", "report.json", "report.html"
Plain = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is scored: images at most (0: all), and whether baselines and probes take part."""

    images: int = 0
    grid_images: int = 60
    honest_images: int = 30
    series: int = 4
    draws: int = 4
    stranger_images: int = 12
    probe_images: int = 200
    baseline_s: float = 240.0
    baseline_images: int = 400
    baselines: bool = True
    probes: bool = True


QUICK = Extent(
    images=40,
    grid_images=12,
    honest_images=6,
    series=1,
    draws=1,
    stranger_images=4,
    probe_images=60,
    baseline_s=60.0,
    baseline_images=80,
)


def evaluate(
    setting: Setting,
    bundles: Sequence[ClassifierDetector],
    output: Path,
    *,
    extent: Extent,
    command: str,
    data: Path,
    run: Path | None = None,
    brought: Mapping[str, Sequence[Sample]] | None = None,
    kept: Path | None = None,
) -> Plain:
    """Scores everything, writes the table and the report into ``output`` and returns the report.

    The first bundle is the one that is evaluated; the others take part in the matrix. ``run`` is the folder of a
    training with its history.json. ``brought`` are data sets with fakes of their own, by name; what belongs to
    patients of the training or validation part, by name or by a nearly equal image, is left out. ``kept``: a folder
    of baselines, made there where they are missing (default: in ``output``).

    Raises: ValueError where a bundle of this configuration learnt from another split.
    """
    began = time.monotonic()
    for bundle in bundles:
        _check_split(bundle, setting)
    output.mkdir(parents=True, exist_ok=True)
    others = baselines_of(setting, kept or output / "baselines", extent) if extent.baselines else []
    sets = unseen(setting, brought or {})
    rows = _rows(setting, [*bundles, *(detector for _, detector in others)], extent, sets)
    main = bundles[0]
    context: Plain = {
        "detectors": [*(_bundle(one) for one in bundles), *(_baseline(kind, one) for kind, one in others)],
        "conditions": [condition.name for condition in (*_conditions(setting), *_honest(setting))],
        "probes": _probes(setting, main, extent, [sample for samples in sets.values() for sample in samples]),
        "outside": _outside(setting, main, extent, data),
        "history": history(run),
        "evaluated": _evaluated(setting, main, extent, command),
    }
    context["evaluated"] |= {
        "seconds": round(time.monotonic() - began),
        "scored": len(rows),
        "brought": left_out(brought or {}, sets),
    }
    write_rows(rows, output / ROWS)
    (output / CONTEXT).write_text(json.dumps(plain(context), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return write_report(rows, context, output)


def _check_split(detector: ClassifierDetector, setting: Setting) -> None:
    """Refuses to call patients unseen that a bundle may have been trained on."""
    then = detector.card.training.get("split_sha256")
    if detector.card.name == setting.configuration.name and then and then != setting.split_sha256:
        raise ValueError(
            f"{detector.name} {detector.card.version} was trained on another split of {detector.card.name} (other "
            "data, seed or near-duplicates): test patients of this one may be among those that it learnt from"
        )


def from_rows(source: Path, output: Path) -> Plain:
    """Writes the report of a table that was scored before; nothing is scored.

    Raises: FileNotFoundError where ``source`` lacks the table or context.json.
    """
    context = json.loads((source / CONTEXT).read_text(encoding="utf-8"))
    output.mkdir(parents=True, exist_ok=True)
    return write_report(read_rows(source / ROWS), context, output)


def write_report(rows: Sequence[Row], context: Plain, output: Path) -> Plain:
    """Writes report.json and report.html."""
    report = plain(summarise(rows, context))
    (output / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (output / PAGE).write_text(page(report), encoding="utf-8")
    return report


def history(run: Path | None) -> list[Plain]:
    """What a training wrote at each validation; empty without a run."""
    path = run / "history.json" if run else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else []


def _conditions(setting: Setting) -> tuple[Condition, ...]:
    return grid(hounsfield=setting.configuration.sampling.hounsfield)


def _honest(setting: Setting) -> tuple[Condition, ...]:
    return honest(hounsfield=setting.configuration.sampling.hounsfield)


def _rows(
    setting: Setting, detectors: Sequence[Detector], extent: Extent, sets: Mapping[str, Sequence[Sample]]
) -> list[Row]:
    volumes = setting.configuration.pinned_to_test
    scorer = Scorer(setting, detectors, watch=_watched)
    rows = scorer.rows("test", seed=TEST_SEED, images=extent.images, skip=volumes)
    for name, samples in sets.items():
        rows += scorer.brought(samples, source=name, images=extent.images, seed=TEST_SEED)
    first = Scorer(setting, detectors[:1], watch=_watched)
    if extent.grid_images:
        most = min(extent.grid_images, extent.images or extent.grid_images)
        rows += first.grid("test", _conditions(setting), seed=TEST_SEED, images=most, skip=volumes)
        # The same images as the grid's first, so that both are compared with them untouched.
        fewer = min(extent.honest_images, most)
        rows += first.honest("test", _honest(setting), seed=TEST_SEED, images=fewer, skip=volumes)
    return rows + first.series(run=5, draws=extent.draws, seed=SERIES_SEED, most=extent.series)


def _watched(jobs: Iterable[Job], total: int, what: str) -> Iterable[Job]:
    return track(jobs, total=total or None, description=what)


def baselines_of(setting: Setting, folder: Path, extent: Extent) -> list[tuple[str, Detector]]:
    """The plain network and the hand-made detector, with their kinds; what ``folder`` keeps of them isn't made again.

    The time of ``extent`` is the network's in all, over every run with this folder.
    """
    network = train_plain224(setting, folder / "plain-224", extent.baseline_s)
    hand_made = folder / "hand-made"
    statistics = (
        load_residual_statistics(hand_made)
        if hand_made.is_dir()
        else fit_residual_statistics(setting, images=extent.baseline_images, output=hand_made)
    )
    return [(PLAIN, network), ("hand-made", statistics)]


def _probes(setting: Setting, detector: Detector, extent: Extent, samples: Sequence[Sample]) -> list[Plain]:
    if not extent.probes:
        return []
    return [asdict(result) for result in probes.run(setting, detector, images=extent.probe_images, samples=samples)]


def _outside(setting: Setting, detector: ClassifierDetector, extent: Extent, data: Path) -> list[Plain]:
    configuration = setting.configuration
    found = outside.strangers(data, reader=configuration.reader, name=configuration.name, most=extent.stranger_images)
    shapes = Counter(sample.image.shape for sample in setting.split.train)
    usual = shapes.most_common(1)[0][0]
    return outside.read_strangers(
        detector, found, shape=(usual[0], usual[1]), hounsfield=configuration.sampling.hounsfield
    )


def _bundle(detector: ClassifierDetector) -> Plain:
    profile = detector.profile
    return {
        "name": detector.name,
        "kind": "bundle",
        "version": detector.card.version,
        "model_sha256": detector.bundle.model_sha256,
        "families": list(detector.families),
        "effort": effort.of_bundle(detector.card.training),
        "cell_px": detector.cell_px,
        "profile": {
            "contiguous": profile.contiguous,
            "slope": profile.slope,
            "intercept": profile.intercept,
            "limits": [
                {"lossy": lossy, "several": several, "real_to": _finite(at.real_to), "fake_from": _finite(at.fake_from)}
                for (lossy, several), at in sorted(profile.limits.items())
            ],
        },
    }


def _finite(logit: float) -> float:
    return max(-1e9, min(1e9, logit))


def _baseline(kind: str, detector: Detector) -> Plain:
    about = getattr(detector, "about", None)
    return {"name": detector.name, "kind": kind, "families": [], "effort": effort.of_plain(about) if about else ""}


def _evaluated(setting: Setting, main: ClassifierDetector, extent: Extent, command: str) -> Plain:
    configuration = setting.configuration
    return {
        "configuration": configuration.name,
        "name": main.card.name,
        "version": main.card.version,
        "modality": main.card.modality,
        "model_sha256": main.bundle.model_sha256,
        "weights_sha256": main.card.weights_sha256,
        "engine": main.engine,
        "data_sha256": data_digest((setting.split.train, setting.split.validation, setting.split.test)),
        "reader": configuration.reader,
        "data": [dict(entry) for entry in main.card.data],
        "split": split_sizes(setting),
        "missing_families": list(Scorer(setting, []).missing),
        "left_out_of_images": list(configuration.pinned_to_test),
        "extent": asdict(extent),
        "seed": TEST_SEED,
        "command": command,
        "date": today(),
        "machine": machine(),
    }
