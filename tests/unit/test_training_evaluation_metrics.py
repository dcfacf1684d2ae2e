"""Metrics and intervals: as scikit-learn has them, and as wide as they should be."""

import numpy as np
import pytest
from evaluation_support import row, rows_of
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve

from training.baselines.ranking import area
from training.evaluation import metrics
from training.evaluation.intervals import (
    at_most,
    difference,
    draws,
    estimate,
    positive_predictive_value,
    share,
    wilson,
)
from training.evaluation.metrics import Metric, Table, make_table
from training.evaluation.rows import CLEAN, Row
from training.evaluation.series import best_run


def tied(seed: int, count: int = 300) -> list[Row]:
    """Rows with many equal scores, three families of different sizes."""
    rng = np.random.default_rng(seed)
    family = rng.choice([CLEAN, "noise", "resample"], count, p=[0.5, 0.4, 0.1])
    score = np.round(rng.normal(np.where(family == CLEAN, -0.4, 0.4), 1), 1)
    return [row(str(family[at]), float(score[at]), f"p{at % 40}") for at in range(count)]


def value(metric: Metric, table: Table, weights: np.ndarray | None = None) -> float:
    return float(metric(table, (table.weight if weights is None else weights)[None])[0])


def halved(table: Table, weights: np.ndarray) -> np.ndarray:
    """Weights of which each class has half."""
    sums = [weights[table.fake == fake].sum() for fake in (False, True)]
    return np.where(table.fake, weights / sums[1], weights / sums[0])


@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_those_of_scikit_learn(seed: int) -> None:
    table = make_table(tied(seed))
    drawn = np.random.default_rng(seed).multinomial(40, np.full(40, 1 / 40))[table.patient] * table.weight
    for weights in (table.weight, drawn):
        both = halved(table, weights)
        args, given = (table.fake, table.score), {"sample_weight": both}
        assert value(metrics.auc, table, weights) == pytest.approx(roc_auc_score(*args, **given))
        assert value(metrics.average_precision, table, weights) == pytest.approx(
            average_precision_score(*args, **given)
        )
        probable = (table.fake, table.probability)
        assert value(metrics.brier, table, weights) == pytest.approx(brier_score_loss(*probable, **given))
        assert value(metrics.log_loss, table, weights) == pytest.approx(log_loss(*probable, **given))
        false, true, _ = roc_curve(*args, **given, drop_intermediate=False)
        for at in (0.01, 0.1, 0.5):
            expected = true[false <= at + 1e-9].max()
            assert value(metrics.detection_at(at), table, weights) == pytest.approx(expected)


def test_each_family_weighs_the_same_whatever_its_count() -> None:
    few = [row(CLEAN, 0.0), row("noise", 1.0), row("resample", -1.0)]
    many = [*few, *[row("noise", 1.0) for _ in range(99)]]
    assert value(metrics.auc, make_table(many)) == pytest.approx(value(metrics.auc, make_table(few))) == 0.5


def test_the_calibration_error_is_the_mean_distance_over_15_bins() -> None:
    table = make_table(tied(5))
    weight = halved(table, table.weight) / 2
    number = np.minimum((table.probability * 15).astype(int), 14)
    expected = sum(abs((weight * (table.probability - table.fake))[number == at].sum()) for at in range(15))
    assert value(metrics.calibration_error, table) == pytest.approx(expected)
    assert expected > 0.02
    certain = [row(CLEAN, -99.0), row("noise", 99.0)]
    assert value(metrics.calibration_error, make_table(certain)) == pytest.approx(0, abs=1e-9)


def test_accuracy_counts_indeterminate_and_refused_images_as_wrong() -> None:
    rows = [row(CLEAN, -2.0), row(CLEAN, 0.0), row("noise", 2.0), row("noise", 5.0, outside="blank")]
    table = make_table(rows, outside=True)
    assert value(metrics.accuracy, table) == pytest.approx(0.5)
    assert value(metrics.accuracy_of_decided, table) == pytest.approx(1.0)
    assert len(make_table(rows).score) == 3


def test_a_bootstrap_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth, held = 0.8413, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = [row(CLEAN, float(rng.normal(0, 1)), f"p{number}") for number in range(60)]
        rows += [row("noise", float(rng.normal(2**0.5, 1)), f"p{number}") for number in range(60)]
        found = estimate(make_table(rows), metrics.auc, rounds=200)
        held += found.low <= truth <= found.high
    assert 50 <= held <= 60


def test_resampling_patients_widens_the_interval_of_repeated_images() -> None:
    rows = rows_of({"noise": 0.0})
    once, repeated = (estimate(make_table(rows * times), metrics.auc) for times in (1, 5))
    assert once.low < once.value < once.high
    assert repeated.value == pytest.approx(once.value)
    assert (repeated.high - repeated.low) == pytest.approx(once.high - once.low, rel=0.1)


def test_draws_of_two_tables_are_paired() -> None:
    rows = rows_of({"noise": 0.5})
    worse = rows_of({"noise": 0.5}, seed=1)
    patients = sorted({one.patient for one in rows})
    same = difference(make_table(rows, patients), make_table(rows, patients), metrics.auc)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    other = difference(make_table(rows, patients), make_table(worse, patients), metrics.auc)
    assert other.low < other.value < other.high
    with pytest.raises(ValueError, match="same patients"):
        difference(make_table(rows), make_table(rows[:20]), metrics.auc)


def test_a_class_without_images_has_no_figure() -> None:
    assert estimate(make_table([row(CLEAN, 0.0)]), metrics.auc).value is None
    drawn = draws(make_table([row(CLEAN, 0.0, "a"), row("noise", 1.0, "b")]), metrics.auc, rounds=200)
    assert np.isnan(drawn).any()
    assert np.nanmin(drawn) == 1


def test_wilson_intervals_of_known_counts() -> None:
    assert wilson(75, 75) == pytest.approx((0.951, 1.0), abs=1e-3)
    assert wilson(68, 75) == pytest.approx((0.820, 0.954), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)
    assert at_most(300) == pytest.approx(0.01, abs=1e-4)


def test_shares_of_images_of_one_patient_count_for_less() -> None:
    apart = share([True, False] * 50, [f"p{number}" for number in range(100)])
    assert apart == pytest.approx((0.5, *wilson(50, 100)), abs=0.01)
    alike = share([number % 10 < 5 for number in range(100)], [f"p{number % 10}" for number in range(100)])
    assert alike[2] - alike[1] > 2 * (apart[2] - apart[1])
    assert share([False] * 100, ["one"] * 50 + ["other"] * 50)[2] == pytest.approx(wilson(0, 2)[1])


def test_rare_fakes_make_most_alarms_wrong() -> None:
    found = positive_predictive_value(0.001, (0.99, 0.97, 1.0), (0.01, 0.005, 0.02))
    assert found.value == pytest.approx(0.090, abs=1e-3)
    assert found.low < found.value < found.high
    none = positive_predictive_value(0.01, (0.95, 0.9, 1.0), (0.0, 0.0, 0.05))
    assert none.value is None
    assert none.low == pytest.approx(0.154, abs=1e-3)


def test_the_area_counts_ties_as_halves() -> None:
    assert area([0, 1], [2, 3]) == 1
    assert area([2, 3], [0, 1]) == 0
    assert area([1, 2], [2, 3]) == pytest.approx(0.875)


def test_a_series_is_its_best_run_not_its_highest_slice() -> None:
    assert best_run([0, 9, 0, 0, 4, 5, 6, 0], 3) == pytest.approx(5)
    assert best_run([2, 4], 3) == pytest.approx(3)
