"""`classify`: assess files without a PACS, by the same stages as the node."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from medfake_pacs import prevalence
from medfake_pacs.cli import files
from medfake_pacs.cli.heatmap import write_heatmap
from medfake_pacs.config import Settings, find_configuration, load_settings
from medfake_pacs.config.schema import NodeSettings
from medfake_pacs.entities import FrameScore, ImageFinding, Score, SeriesVerdict, VerdictLabel
from medfake_pacs.errors import ConfigurationError, PixelError
from medfake_pacs.offline import FileImage, ModelChoice, choose_model, look_at
from medfake_pacs.pixels import DecoderProcess
from medfake_pacs.verdict import LOCALIZER, AssessedImage, assess_series
from medfake_pacs.workflows.context import pixel_limits
from medfake_pacs.workflows.models import Models, Pinned
from medfake_pacs.workflows.profiles import profile_of


def classify(options: argparse.Namespace) -> int:
    """Print a verdict for every series and loose image; 1 if a file is not an image that can be assessed."""
    settings = _settings(options)
    models = Pinned(Models(settings))
    images = [look_at(index, path) for index, path in enumerate(files.files_under(options.paths))]
    groups: dict[str, list[FileImage]] = {}
    for image in images:
        groups.setdefault(image.attributes.series_instance_uid, []).append(image)
    if options.heatmap:
        options.heatmap.mkdir(parents=True, exist_ok=True)
    table = Table("series or image", "verdict", "probability", "images", "model", "reason")
    assessed = 0
    with DecoderProcess(pixel_limits(settings)) as decoder:
        for members in groups.values():
            verdict = _assess(options, settings, models, decoder, members)
            assessed += verdict.label is not VerdictLabel.NOT_ASSESSED
            if options.json:
                print(json.dumps(_as_json(members, verdict), ensure_ascii=False), flush=True)
            else:
                table.add_row(*_as_row(members, verdict))
    if not options.json:
        Console().print(table)
    return 0 if assessed == len(groups) else 1


def _settings(options: argparse.Namespace) -> Settings:
    """Return the node's settings, or the defaults with a cache of the user's own where there is no configuration."""
    try:
        return load_settings(find_configuration(options.config))
    except ConfigurationError:
        if options.config is not None:
            raise
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medfake-pacs"
    return Settings().model_copy(update={"node": NodeSettings(state_dir=cache)})


def _assess(
    options: argparse.Namespace,
    settings: Settings,
    models: Pinned,
    decoder: DecoderProcess,
    members: Sequence[FileImage],
) -> SeriesVerdict:
    choice = _model_for(options, settings, models, members[0])
    profile = profile_of(models.bundle(choice.model), settings.models.prevalence) if choice.model else None
    shown = members if options.json or not sys.stderr.isatty() else _progress(members)
    assessed = [_score(options, models, decoder, choice, index, image) for index, image in enumerate(shown)]
    return assess_series(assessed, profile, route="")


def _progress(members: Sequence[FileImage]) -> Iterable[FileImage]:
    return track(members, description="scoring", console=Console(stderr=True), transient=True)


def _model_for(options: argparse.Namespace, settings: Settings, models: Pinned, image: FileImage) -> ModelChoice:
    if options.model:
        return ModelChoice(model=options.model)
    names = models.names()
    return choose_model(settings, image.attributes, names, lambda name: models.bundle(name).card.modality)


def _score(
    options: argparse.Namespace,
    models: Pinned,
    decoder: DecoderProcess,
    choice: ModelChoice,
    index: int,
    image: FileImage,
) -> AssessedImage:
    unscored = AssessedImage(
        instance_id=index, attributes=image.attributes, pixel_sha256="", score=None, reason=choice.reason
    )
    if not choice.model:
        return unscored
    if "LOCALIZER" in image.attributes.image_type.upper():
        return replace(unscored, reason=f"{LOCALIZER}: not of a kind that is assessed")
    classifier = models.classifier(choice.model)
    try:
        scored: list[FrameScore] = []
        info, frames = decoder.open(image.path)
        if info.lossy:
            unscored = replace(unscored, attributes=replace(image.attributes, lossy=True))
        for frame in frames:
            scored.extend(classifier.score_frames([frame]))
            if options.heatmap:
                write_heatmap(options.heatmap, image.path, frame, scored[-1])
    except PixelError as error:
        return replace(unscored, reason=str(error))
    score = Score(pixel_sha256="", model_sha256=classifier.model_sha256, frames=tuple(scored), engine=classifier.engine)
    return replace(unscored, score=score)


def _as_json(members: Sequence[FileImage], verdict: SeriesVerdict) -> dict[str, object]:
    first, at = members[0], prevalence.of_series(verdict)
    name = {"path": str(first.path)} if first.loose else {"series_instance_uid": verdict.series_instance_uid}
    return {
        **name,
        "modality": verdict.modality,
        "model": verdict.model.name if verdict.model else "",
        "model_sha256": verdict.model.sha256 if verdict.model else "",
        "calibration_sha256": verdict.model.parameters["calibration_sha256"] if verdict.model else "",
        "verdict": str(verdict.label),
        "probability_fake": verdict.probability,
        "prevalence": at.prevalence if at else None,
        "probability_at_prevalence": at.probability if at else None,
        "images_scored": verdict.images_scored,
        "images_total": verdict.images_total,
        "images": [_image_as_json(members[finding.instance_id], finding) for finding in verdict.findings],
        "reason": verdict.reason,
    }


def _image_as_json(image: FileImage, finding: ImageFinding) -> dict[str, object]:
    name = {"path": str(image.path)} if image.loose else {"sop_instance_uid": image.attributes.sop_instance_uid}
    regions = [[region.x, region.y, region.width, region.height] for _, region in finding.regions]
    return {**name, "score": finding.score, "regions": regions}


def _as_row(members: Sequence[FileImage], verdict: SeriesVerdict) -> tuple[str, ...]:
    return (
        str(members[0].path) if len(members) == 1 else f"{members[0].path.parent} ({len(members)} files)",
        str(verdict.label),
        "" if verdict.probability is None else f"{verdict.probability:.3f}",
        f"{verdict.images_scored} of {verdict.images_total}",
        verdict.model.name if verdict.model else "",
        verdict.reason,
    )
