"""Conformal ranks are exact, what they promise holds, and too few images are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs import conformal
from medfake_pacs.conformal import Prediction

SCORES = st.lists(st.floats(-50, 50), min_size=20, max_size=80)


@pytest.mark.parametrize(
    ("count", "alpha", "rank"),
    [
        (99, 0.01, 99),
        (100, 0.01, 100),
        (199, 0.01, 198),
        (999, 0.001, 999),
        (19, 0.05, 19),
        (9, 0.1, 9),
        (699, 0.01, 693),
    ],
)
def test_the_rank_is_exact(count: int, alpha: float, rank: int) -> None:
    assert conformal.rank(count, alpha) == rank


@pytest.mark.parametrize(("alpha", "count"), [(0.05, 19), (0.01, 99), (0.005, 199), (0.001, 999), (0.03, 33)])
def test_one_image_fewer_than_needed_is_refused_with_what_so_many_support(alpha: float, count: int) -> None:
    assert conformal.least_count(alpha) == count
    assert conformal.rank(count, alpha) == count
    with pytest.raises(ValueError, match=rf"{count - 1} images can't support.*needs {count}"):
        conformal.rank(count - 1, alpha)
    assert conformal.rank(count - 1, conformal.supported_alpha(count - 1) + 1e-12) == count - 1


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5])
def test_what_is_no_rate_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal.highest_real([0.0] * 200, alpha)


@given(SCORES, st.floats(-60, 60), st.sampled_from([0.05, 0.1, 0.2]))
def test_bounds_and_p_values_say_the_same(scores: list[float], score: float, alpha: float) -> None:
    assert (score <= conformal.highest_real(scores, alpha)) == (
        conformal.p_value_of_real(score, scores) > alpha + 1e-12
    )
    assert (score >= conformal.lowest_fake(scores, alpha)) == (conformal.p_value_of_fake(score, scores) > alpha + 1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_the_promise_holds_for_any_distribution(alpha: float) -> None:
    rng = np.random.default_rng(3)
    beyond = []
    for _ in range(3000):
        # Heavy tails on purpose: nothing is assumed of the distribution.
        drawn = rng.standard_t(2, 200) ** 3
        beyond.append(drawn[-1] > conformal.highest_real(drawn[:-1].tolist(), alpha))
    exact = (200 - conformal.rank(199, alpha)) / 200
    assert exact <= alpha
    assert np.mean(beyond) == pytest.approx(exact, abs=4 * np.sqrt(alpha / 3000))


def test_each_class_has_its_own_promise() -> None:
    rng = np.random.default_rng(4)
    reals, fakes = rng.normal(0, 1, 499), rng.normal(2, 2, 99)
    real_to, fake_from = conformal.highest_real(reals.tolist(), 0.01), conformal.lowest_fake(fakes.tolist(), 0.1)
    found = [conformal.predict(score, real_to=real_to, fake_from=fake_from) for score in rng.normal(2, 2, 4000)]
    missed = np.mean([prediction in (Prediction.REAL, Prediction.NEITHER) for prediction in found])
    assert 0.03 < missed < 0.2
    alarms = [conformal.predict(score, real_to=real_to, fake_from=fake_from) for score in rng.normal(0, 1, 4000)]
    assert np.mean([prediction is Prediction.FAKE for prediction in alarms]) < 0.03


def test_a_score_can_be_consistent_with_one_class_with_both_or_with_neither() -> None:
    overlapping = [conformal.predict(score, real_to=2.0, fake_from=1.0) for score in (0.9, 1.0, 2.0, 2.1)]
    assert overlapping == [Prediction.REAL, Prediction.BOTH, Prediction.BOTH, Prediction.FAKE]
    apart = [conformal.predict(score, real_to=1.0, fake_from=2.0) for score in (1.0, 1.5, 2.0)]
    assert apart == [Prediction.REAL, Prediction.NEITHER, Prediction.FAKE]
