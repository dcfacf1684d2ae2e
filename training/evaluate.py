"""Figures on test patients, written into a bundle's card."""

from math import log
from pathlib import Path
from typing import Any

from medfake_pacs.classifier import Classifier, load_bundle
from medfake_pacs.pixels.preprocess import preparer
from training.calibrate import Reading, read_from
from training.export import read_card, write_card
from training.figures import REFERENCE, image_figures, outside_figure, reference_figure, series_figures
from training.scored import Row, Scorer, write_rows
from training.setting import Setting

VALIDATION_SEED = 101
TEST_SEED = 202
SERIES_SEED = 303
_CODEC_IMAGES = {False: 30, True: 8}


def open_scorer(setting: Setting, bundle: Path, cache_dir: Path, device: str) -> Scorer:
    """The scorer on the engine that the node would use."""
    classifier = Classifier(load_bundle(bundle), preparer=preparer, device=device, cache_dir=cache_dir)
    return Scorer(setting, classifier)


def calibrate(setting: Setting, bundle: Path, scorer: Scorer, rounds: int) -> Reading:
    """Sets calibration and thresholds of a bundle's card from ``rounds`` draws of validation fakes."""
    rows: list[Row] = []
    for number in range(rounds):
        drawn = scorer.rows("validation", seed=VALIDATION_SEED + number)
        rows += drawn if number == 0 else [row for row in drawn if row.family != "clean"]
    card = read_card(bundle)
    configuration = setting.configuration
    volumes = [volume for patient in configuration.pinned_to_test for volume in scorer.clean_series(patient)]
    reading = read_from(rows, configuration.families, contiguous=card["pooling"]["contiguous_k"], clean_series=volumes)
    card["calibration"] = {"slope": round(reading.slope, 5), "intercept": round(reading.intercept, 5)}
    card["thresholds"] = {"real_below": reading.real_below, "fake_above": reading.fake_above}
    write_card(bundle, card)
    write_rows(rows, bundle.parent / f"{bundle.name}-validation-scores.json")
    return reading


def measure(setting: Setting, bundle: Path, scorer: Scorer, reading: Reading, command: str) -> list[dict[str, Any]]:
    """Measures on test patients and writes the figures into the card."""
    configuration = setting.configuration
    volumes = configuration.pinned_to_test
    rows = scorer.rows(
        "test", seed=TEST_SEED, codec_images=_CODEC_IMAGES[configuration.sampling.hounsfield], skip=volumes
    )
    figures = [outside_figure(rows), *image_figures(rows, reading, configuration.families)]
    card = read_card(bundle)
    length = card["pooling"]["contiguous_k"]
    for patient in volumes:
        figures += series_figures(scorer.series(patient, run=5, draws=4, seed=SERIES_SEED), reading, length)
    figures.append(reference_figure(scorer.clean("test")))
    card["figures"] = [{**figure, "command": command} for figure in figures]
    write_card(bundle, card)
    write_rows(rows, bundle.parent / f"{bundle.name}-test-scores.json")
    return figures


def refer(bundle: Path, scorer: Scorer, command: str) -> dict[str, Any]:
    """Measures how the scores of clean test images are spread, alone, and writes that into the card."""
    figure = {**reference_figure(scorer.clean("test")), "command": command}
    card = read_card(bundle)
    card["figures"] = [*(each for each in card["figures"] if each["what"] != REFERENCE), figure]
    write_card(bundle, card)
    return figure


def reading_of(bundle: Path) -> Reading:
    """How a card says that scores are read, with the thresholds as logits again."""
    card = read_card(bundle)
    slope, intercept = card["calibration"]["slope"], card["calibration"]["intercept"]
    below, above = card["thresholds"]["real_below"], card["thresholds"]["fake_above"]
    logits = [(log(value / (1 - value)) - intercept) / slope for value in (below, above)]
    return Reading(
        slope=slope,
        intercept=intercept,
        real_below=below,
        fake_above=above,
        real_below_logit=logits[0],
        fake_above_logit=logits[1],
    )
