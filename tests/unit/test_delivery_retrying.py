"""Backoff and circuit breaker as functions of the past."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs.config import RetrySettings
from medfake_pacs.delivery import CircuitState, circuit
from medfake_pacs.retrying import next_attempt

_RETRY = RetrySettings(first_delay_s=10, max_delay_s=100, give_up_after_s=1000)


def test_the_delay_doubles_up_to_its_maximum() -> None:
    assert [next_attempt(attempt, _RETRY, lambda: 0.0) for attempt in range(1, 7)] == [10, 20, 40, 80, 100, 100]


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_jitter_takes_at_most_half(attempt: int, luck: float) -> None:
    full = next_attempt(attempt, _RETRY, lambda: 0.0)
    assert full / 2 <= next_attempt(attempt, _RETRY, lambda: luck) <= full


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_few_failures_leave_the_circuit_closed(failures: int) -> None:
    assert circuit([100.0] * failures, _RETRY, 100.0).state is CircuitState.CLOSED


def test_three_failures_open_it_until_the_probe() -> None:
    failed_at = [1000.0, 980.0, 970.0]
    assert circuit(failed_at, _RETRY, 1009.9).state is CircuitState.OPEN
    assert circuit(failed_at, _RETRY, 1010.0).state is CircuitState.HALF_OPEN


def test_each_failed_probe_doubles_the_pause() -> None:
    pauses = [circuit([1000.0] * failures, _RETRY, 1000.0).probe_at - 1000.0 for failures in range(3, 9)]
    assert pauses == [10, 20, 40, 80, 100, 100]


def test_a_report_never_tried_may_probe_sooner() -> None:
    state = circuit([1000.0] * 9, _RETRY, 1000.0)
    assert state.fresh_probe_at == 1010.0
    assert state.probe_at == 1100.0
