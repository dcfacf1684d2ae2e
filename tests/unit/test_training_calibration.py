"""Thresholds from validation rows: by rank where there are enough, by strata, with no word from test patients."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from medfake_pacs import conformal
from medfake_pacs.classifier import load_bundle
from medfake_pacs.classifier.calibration import LOSSLESS, LOSSY
from medfake_pacs.workflows.profiles import profile_of
from tests.unit.classifier_support import make_bundle
from training.calibration import calibrate, fit, fit_temperature
from training.calibration.bounds import extrapolated_side, fake_side, normal_bound, real_side
from training.calibration.bundle import CODECS
from training.calibration.fitting import best_runs
from training.evaluation.conditions import Condition

FAMILIES = ("noise", "nodule")


@dataclass(frozen=True, kw_only=True)
class Row:
    """As the evaluation's."""

    name: str
    score: float
    family: str = "clean"
    codec: str = ""
    patient: str = ""
    series: str = ""
    position: float = 0.0
    outside: str = ""
    was_lossy: bool = False

    @property
    def lossy(self) -> bool:
        return self.was_lossy or bool(self.codec)


def drawn(images: int, *, codec: str = "", shift: float = 0.0, seed: int = 0) -> list[Row]:
    """Clean images around 0 and fakes around 3; a held-out family around -50, which must decide nothing."""
    rng = np.random.default_rng(seed)
    means = {"clean": 0.0, "noise": 3.0, "nodule": 3.0, "held out": -50.0}
    return [
        Row(name=f"{number}", patient=f"p{number}", family=family, codec=codec, score=rng.normal(mean + shift, 1.0))
        for number in range(images)
        for family, mean in means.items()
    ]


def test_temperature_and_bias_make_probabilities_of_logits() -> None:
    rng = np.random.default_rng(1)
    clean, fake = rng.normal(1, 2, 4000), rng.normal(5, 2, 4000)
    # The log odds of two normal distributions with one spread are a line: slope 4/4, zero in the middle.
    slope, intercept = fit_temperature(clean.tolist(), fake.tolist())
    assert slope == pytest.approx(1.0, abs=0.06)
    assert -intercept / slope == pytest.approx(3.0, abs=0.1)
    with pytest.raises(ValueError, match="no higher than clean"):
        fit_temperature(fake.tolist(), clean.tolist())


def test_thresholds_are_the_ranks_of_each_class_and_held_out_families_decide_nothing() -> None:
    rows = drawn(120)
    fitted = fit(rows, families=FAMILIES, contiguous=1)
    reading = fitted.strata[LOSSLESS].image
    clean = sorted(row.score for row in rows if row.family == "clean")
    fakes = sorted(row.score for row in rows if row.family in FAMILIES)
    assert reading.real.method == "rank"
    assert reading.real.threshold == pytest.approx(clean[conformal.rank(120, 0.01) - 1], abs=1e-4)
    assert reading.fake.threshold == pytest.approx(fakes[-conformal.rank(240, 0.1)], abs=1e-4)
    assert (reading.real.count, reading.real.patients, reading.fake.count) == (120, 120, 240)
    assert fitted.strata[LOSSLESS].series is None
    assert LOSSY not in fitted.strata


def test_fresh_clean_images_are_seldom_beyond_the_threshold() -> None:
    shares = []
    for seed in range(60):
        reading = fit(drawn(150, seed=seed), families=FAMILIES, contiguous=1).strata[LOSSLESS].image
        fresh = np.random.default_rng(10_000 + seed).normal(0, 1, 2000)
        shares.append(np.mean(fresh > reading.real.threshold))
    assert np.mean(shares) == pytest.approx(1 / 151, abs=0.003)


def test_the_lossy_stratum_counts_the_worst_codec_of_each_image() -> None:
    strong = drawn(110, codec="JPEG q70", shift=1.5, seed=5)
    rows = [*drawn(110), *drawn(110, codec="JPEG q90", seed=4), *strong]
    fitted = fit(rows, families=FAMILIES, contiguous=1)
    lossless, lossy = fitted.strata[LOSSLESS].image, fitted.strata[LOSSY].image
    assert lossy.real.count == 110
    assert lossy.real.threshold > lossless.real.threshold + 0.8
    for codec in ("JPEG q90", "JPEG q70"):
        clean = [row.score for row in rows if row.codec == codec and row.family == "clean"]
        assert np.mean([score > lossy.real.threshold for score in clean]) <= 0.01
        fakes = [row.score for row in rows if row.codec == codec and row.family in FAMILIES]
        assert np.mean([score < lossy.fake.threshold for score in fakes]) <= 0.1


def test_images_that_came_compressed_belong_to_the_lossy_stratum() -> None:
    published = [replace(row, name=f"{row.name} jpeg", was_lossy=True) for row in drawn(120, shift=1.0, seed=3)]
    fitted = fit([*drawn(120), *published], families=FAMILIES, contiguous=1)
    apart = fit(drawn(120), families=FAMILIES, contiguous=1)
    assert fitted.strata[LOSSLESS] == apart.strata[LOSSLESS]
    clean = sorted(row.score for row in published if row.family == "clean")
    assert fitted.strata[LOSSY].image.real.threshold == pytest.approx(clean[-1], abs=1e-4)


def test_images_outside_the_domain_do_not_count() -> None:
    rows = drawn(120)
    strange = [Row(name=f"s{number}", patient="s", score=90.0, outside="a photograph") for number in range(50)]
    assert fit([*rows, *strange], families=FAMILIES, contiguous=1) == fit(rows, families=FAMILIES, contiguous=1)


def test_too_few_images_are_extrapolated_and_say_so() -> None:
    reading = fit(drawn(30), families=FAMILIES, contiguous=1).strata[LOSSLESS].image
    assert (reading.real.method, reading.real.count) == ("normal", 30)
    with pytest.raises(ValueError, match="30 images can't support"):
        real_side([0.0] * 30, 0.01, patients=30)
    with pytest.raises(ValueError, match="too few to calibrate"):
        extrapolated_side([1.0, 2.0], 0.01, patients=2)


def test_the_extrapolation_keeps_its_rate_where_scores_are_normal() -> None:
    rng = np.random.default_rng(7)
    beyond = [(scores[-1] > normal_bound(scores[:-1], 0.01)) for scores in rng.normal(2, 3, (4_000, 21))]
    assert np.mean(beyond) == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_a_clean_series_of_many_slices_is_seldom_called_fake(alike: float) -> None:
    """Slices of one patient have a share ``alike`` of their spread in common; thresholds come from single slices."""
    rng = np.random.default_rng(8)
    alarms = []
    for seed in range(40):
        stratum = fit(drawn(60, seed=seed), families=FAMILIES, contiguous=3, windows=300).strata[LOSSLESS]
        assert stratum.series is not None
        assert stratum.series.real.method == "normal"
        own = rng.normal(0, np.sqrt(alike), (60, 1))
        slices = own + rng.normal(0, np.sqrt(1 - alike), (60, 302))
        runs = np.stack([slices[:, start : start + 300] for start in range(3)]).mean(axis=0).max(axis=1)
        alarms.append(np.mean(runs > stratum.series.real.threshold))
    assert np.mean(alarms) <= 0.01


def test_enough_volumes_of_validation_patients_give_the_series_threshold_by_rank() -> None:
    rng = np.random.default_rng(9)
    volumes = [
        Row(name=f"{patient}/{at}", patient=f"v{patient}", series=f"s{patient}", position=float(at), score=score)
        for patient in range(100)
        for at, score in enumerate(rng.normal(0, 1, 12))
    ]
    rows = [row for row in drawn(100) if row.family != "clean"] + volumes
    series = fit(rows, families=FAMILIES, contiguous=3).strata[LOSSLESS].series
    assert series is not None
    best = []
    for patient in range(100):
        scores = [row.score for row in volumes if row.patient == f"v{patient}"]
        best.append(max(np.mean(scores[at : at + 3]) for at in range(10)))
    assert (series.real.method, series.real.count) == ("rank", 100)
    assert series.real.threshold == pytest.approx(max(best), abs=1e-4)


def test_a_few_volumes_raise_the_threshold_when_they_score_higher() -> None:
    rows = drawn(60)
    volume = [
        Row(name=f"v/{at}", patient="v", series="s", position=float(at), score=9.0 if at in (4, 5, 6) else 0.0)
        for at in range(12)
    ]
    plain = fit(rows, families=FAMILIES, contiguous=3, windows=1).strata[LOSSLESS].series
    raised = fit([*rows, *volume], families=FAMILIES, contiguous=3, windows=1).strata[LOSSLESS].series
    assert plain is not None
    assert raised is not None
    assert plain.real.threshold < 9.0 <= raised.real.threshold


def test_published_and_cleaned_slices_do_not_share_a_window() -> None:
    slices = [
        Row(name=f"v/{at}{suffix}", patient="v", series="s", position=float(at), score=score)
        for at in range(12)
        for suffix, score in (("", 9.0), (" (cleaned)", 0.0))
    ]
    runs = best_runs([(row, row.score) for row in slices], 3)
    assert sorted(runs.values()) == [("v", 0.0), ("v", 9.0)]


def test_fakes_are_bounded_from_below() -> None:
    side = fake_side([float(number) for number in range(99)], 0.1, patients=99)
    assert side.threshold == 9.0


class Recorder:
    """Scores nothing; remembers which parts of the split it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def rows(self, part: str, *, seed: int) -> list[Row]:
        self.asked.append((part, ()))
        return drawn(100, seed=seed)

    def grid(self, part: str, conditions: list[Condition], *, seed: int, images: int) -> list[Row]:
        self.asked.append((part, tuple(condition.name for condition in conditions)))
        return [row for condition in conditions for row in drawn(100, codec=condition.name, seed=seed + images)]


@pytest.mark.parametrize("hounsfield", [False, True])
def test_a_bundle_is_calibrated_on_validation_patients_alone(tmp_path: Path, hounsfield: bool) -> None:
    folder, scorer = make_bundle(tmp_path / "bundle"), Recorder()
    before = load_bundle(folder)
    calibrate(scorer, folder, families=FAMILIES, hounsfield=hounsfield, rounds=2)
    assert {part for part, _ in scorer.asked} == {"validation"}
    codecs = {name for _, names in scorer.asked for name in names}
    assert codecs == ({"J2K 5:1", "J2K 10:1"} if hounsfield else set(CODECS))
    bundle = load_bundle(folder)
    card = json.loads((folder / "card.json").read_text())
    assert card["format"] == 2
    assert "thresholds" not in card
    assert bundle.card.strata[LOSSLESS].image.fake.count == 2 * 2 * 100
    assert bundle.card.strata[LOSSLESS].series is not None
    assert bundle.card.strata[LOSSY].image.real.count == 100
    assert bundle.calibration_sha256 != before.calibration_sha256
    assert set(profile_of(bundle).limits) == {(False, False), (False, True), (True, False), (True, True)}
