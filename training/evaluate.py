"""The old place of ``training.evaluation``, for the command that exports."""

from pathlib import Path

from training.calibrate import Reading, read_from
from training.evaluation.detectors import open_detector
from training.evaluation.scoring import Scorer
from training.export import read_card, write_card
from training.setting import Setting

VALIDATION_SEED = 101


def open_scorer(setting: Setting, bundle: Path, cache_dir: Path, device: str) -> Scorer:
    """The scorer on the engine that the node would use."""
    return Scorer(setting, [open_detector(bundle, cache_dir=cache_dir, device=device)])


def calibrate(setting: Setting, bundle: Path, scorer: Scorer, rounds: int) -> Reading:
    """Sets calibration and thresholds of a bundle's card from ``rounds`` draws of validation fakes."""
    rows = []
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
    return reading
