"""The figures: intervals, areas, calibration and thresholds do what they say."""

import numpy as np
import pytest

from training.calibrate import read_from
from training.figures import image_figures, reference_figure
from training.scored import CLEAN, Row, best_run
from training.statistics import auc, auc_interval, platt, sigmoid, wilson


def row(family: str, score: float, patient: str = "p", outside: str = "") -> Row:
    return Row(
        name="n",
        patient=patient,
        series="",
        position=0,
        lung_fraction=1,
        family=family,
        codec="",
        score=score,
        outside=outside,
    )


def test_wilson_intervals_of_known_counts() -> None:
    assert wilson(75, 75) == pytest.approx((0.951, 1.0), abs=1e-3)
    assert wilson(68, 75) == pytest.approx((0.820, 0.954), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_area_counts_ties_as_halves() -> None:
    assert auc([0, 1], [2, 3]) == 1
    assert auc([2, 3], [0, 1]) == 0
    assert auc([1, 2], [2, 3]) == pytest.approx(0.875)


def test_resampling_patients_widens_the_interval_of_repeated_images() -> None:
    rng = np.random.default_rng(0)
    clean = [(f"p{number}", float(score)) for number, score in enumerate(rng.normal(0, 1, 30))]
    fake = [(f"p{number}", float(score)) for number, score in enumerate(rng.normal(1, 1, 30))]
    low, high = auc_interval(clean, fake)
    repeated_low, repeated_high = auc_interval(clean * 5, fake * 5)
    assert low < auc([score for _, score in clean], [score for _, score in fake]) < high
    assert (repeated_high - repeated_low) == pytest.approx(high - low, rel=0.1)


def test_calibration_makes_probabilities_of_scores() -> None:
    rng = np.random.default_rng(1)
    clean, fake = rng.normal(-1, 1, 4000), rng.normal(1, 1, 4000)
    slope, intercept = platt(clean.tolist(), fake.tolist())
    assert slope == pytest.approx(2, abs=0.2)
    assert intercept == pytest.approx(0, abs=0.2)
    assert sigmoid(slope * 3 + intercept) > 0.99


@pytest.mark.parametrize("contiguous", [1, 3])
def test_thresholds_keep_clean_images_from_being_called_fake(contiguous: int) -> None:
    rng = np.random.default_rng(2)
    rows = [row(CLEAN, float(score)) for score in rng.normal(-1, 0.5, 200)]
    rows += [row("noise", float(score)) for score in rng.normal(2, 1, 200)]
    reading = read_from(rows, ["noise"], contiguous=contiguous)
    assert 0 < reading.real_below <= reading.fake_above < 1
    fresh = rng.normal(-1, 0.5, 20_000)
    assert (fresh > reading.fake_above_logit).mean() < 0.004
    assert np.mean([one.score < reading.real_below_logit for one in rows if one.family == "noise"]) <= 0.11
    assert sigmoid(reading.slope * reading.fake_above_logit + reading.intercept) == pytest.approx(
        reading.fake_above, abs=1e-3
    )


def test_a_model_that_is_wrong_way_round_is_not_calibrated() -> None:
    rows = [row(CLEAN, 1.0 + 0.01 * number) for number in range(20)] + [
        row("noise", -0.01 * number) for number in range(20)
    ]
    with pytest.raises(ValueError, match="can't be calibrated"):
        read_from(rows, ["noise"], contiguous=1)


def test_figures_count_images_inside_the_domain_alone() -> None:
    rng = np.random.default_rng(3)
    rows = [row(CLEAN, float(score), f"p{number % 9}") for number, score in enumerate(rng.normal(-2, 0.5, 90))]
    rows += [row("noise", float(score), f"p{number % 9}") for number, score in enumerate(rng.normal(2, 0.5, 90))]
    reading = read_from(rows, ["noise"], contiguous=1)
    figures = {
        figure["what"]: figure
        for figure in image_figures([*rows, row(CLEAN, 99.0, outside="blank")], reading, ["noise"])
    }
    alarms = figures["clean images called fake"]
    assert (alarms["count"], alarms["of"], alarms["patients"]) == (0, 90, 9)
    assert figures["AUC, all families in training"]["value"] > 0.99


def test_a_series_is_its_best_run_not_its_highest_slice() -> None:
    assert best_run([0, 9, 0, 0, 4, 5, 6, 0], 3) == pytest.approx(5)
    assert best_run([2, 4], 3) == pytest.approx(3)


def test_the_reference_is_the_spread_of_clean_images_inside_the_domain() -> None:
    rows = [row(CLEAN, float(score)) for score in range(101)]
    rows += [row(CLEAN, 1e6, outside="blank"), row("noise", -1e6)]
    figure = reference_figure(rows)
    assert (figure["count"], figure["of"]) == (101, 102)
    assert figure["value"] == 50.0
    assert figure["quantiles"][0] == 0.0
    assert figure["quantiles"][-1] == 100.0
    assert figure["quantiles"] == sorted(figure["quantiles"])
