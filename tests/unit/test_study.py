"""When is a study complete?"""

from medfake_pacs.config import CompletionSettings
from medfake_pacs.study import SeriesArrival, Trigger, study_trigger

COMPLETION = CompletionSettings(quiet_s=5, idle_association_s=30, max_wait_s=600)


def arrival(
    first: float = 0.0, last: float = 10.0, *, is_open: bool = False, closed: float | None = 10.0
) -> SeriesArrival:
    return SeriesArrival(
        series_instance_uid="1.2",
        first_received_at=first,
        last_received_at=last,
        sender_open=is_open,
        senders_closed_at=closed,
    )


def test_quiet_after_the_association_was_released() -> None:
    assert study_trigger([arrival()], 14.9, COMPLETION) is None
    assert study_trigger([arrival()], 15.0, COMPLETION) is Trigger.RELEASED


def test_the_quiet_time_starts_at_the_release_where_that_is_later() -> None:
    assert study_trigger([arrival(closed=20.0)], 24.0, COMPLETION) is None
    assert study_trigger([arrival(closed=20.0)], 25.0, COMPLETION) is Trigger.RELEASED


def test_an_association_that_stays_open_delays_until_it_is_idle_for_longer() -> None:
    held = arrival(is_open=True, closed=None)
    assert study_trigger([held], 39.0, COMPLETION) is None
    assert study_trigger([held], 40.0, COMPLETION) is Trigger.IDLE


def test_one_series_that_still_arrives_holds_the_study() -> None:
    assert study_trigger([arrival(), arrival(last=14.0)], 15.0, COMPLETION) is None


def test_forced_after_the_maximum_although_images_keep_coming() -> None:
    endless = arrival(first=0.0, last=599.0, is_open=True, closed=None)
    assert study_trigger([endless], 599.5, COMPLETION) is None
    assert study_trigger([endless], 600.0, COMPLETION) is Trigger.MAXIMUM


def test_an_unknown_association_counts_as_ended() -> None:
    assert study_trigger([arrival(closed=None)], 15.0, COMPLETION) is Trigger.RELEASED


def test_nothing_arrived_is_not_complete() -> None:
    assert study_trigger([], 1e9, COMPLETION) is None
