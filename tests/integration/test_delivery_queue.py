"""The outgoing queue on both databases: nothing lost, nothing doubled, every attempt on record."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.config import RetrySettings
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.tables import instances, reports
from medfake_pacs.delivery import (
    CircuitState,
    DueDelivery,
    ListedDelivery,
    circuit_of,
    due,
    enqueue,
    give_up_unknown,
    listing,
)
from medfake_pacs.delivery import record as record_outcome
from medfake_pacs.delivery import retry as retry_deliveries
from medfake_pacs.entities import Delivery, Report
from medfake_pacs.errors import DeliveryError

_RETRY = RetrySettings(first_delay_s=10, max_delay_s=100, give_up_after_s=1000)
_SUCCESS, _BAD_OBJECT, _FULL, _SILENCE = 0x0000, 0xC000, 0xA700, None


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(database_url or f"sqlite:///{tmp_path / 'medfake.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


def _enqueue(engine: sa.Engine, number: int, now: float, *destinations: str) -> None:
    report = Report(
        sop_instance_uid=f"1.9.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        study_instance_uid=f"1.2.{number}",
        revision=1,
        path=Path(f"/reports/{number}.dcm"),
        sha256="ab" * 32,
    )
    row = {name: getattr(report, name) for name in report.__slots__} | {"path": str(report.path), "created_at": now}
    with transaction(engine) as connection:
        found = connection.execute(sa.select(reports).where(reports.c.sop_instance_uid == report.sop_instance_uid))
        if found.first() is None:
            connection.execute(sa.insert(reports).values(row))
        enqueue(connection, report, destinations or ("pacs",), now)


def _due(engine: sa.Engine, now: float, limit: int = 10, destination: str = "pacs") -> list[DueDelivery]:
    with reading(engine) as connection:
        return due(connection, destination, now, limit, _RETRY)


def _outcome(item: DueDelivery, status: int | None) -> Delivery:
    return Delivery(
        delivery_id=item.delivery_id,
        report_uid=item.report_uid,
        destination=item.destination,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        status=status,
        succeeded=status == _SUCCESS,
        comment="" if status == _SUCCESS else "said no",
        attempt=item.attempt,
    )


def _record(engine: sa.Engine, now: float, *outcomes: Delivery) -> None:
    with transaction(engine) as connection:
        for outcome in outcomes:
            record_outcome(connection, outcome, _RETRY, now, lambda: 0.0, ae_title="ARCHIVE")


def _attempt(engine: sa.Engine, now: float, status: int | None, limit: int = 10) -> list[int]:
    """Do what the worker does once; return which deliveries were tried."""
    items = _due(engine, now, limit)
    _record(engine, now, *(_outcome(item, status) for item in items))
    return [item.delivery_id for item in items]


def _list(engine: sa.Engine, **conditions: str) -> list[ListedDelivery]:
    with reading(engine) as connection:
        return list(listing(connection, with_attempts=True, **conditions))


def _events(engine: sa.Engine) -> list[audit.AuditRow]:
    with reading(engine) as connection:
        return list(audit.query(connection))


def test_a_report_is_queued_once_for_each_destination(engine: sa.Engine) -> None:
    for _ in range(2):
        _enqueue(engine, 1, 100.0, "pacs", "archive")
    assert [(each.destination, each.state, each.attempts) for each in _list(engine)] == [
        ("pacs", "waiting", 0),
        ("archive", "waiting", 0),
    ]


def test_what_is_due_comes_in_order_with_its_file(engine: sa.Engine) -> None:
    for number in (3, 1, 2):
        _enqueue(engine, number, 100.0 + number)
    assert [item.report_uid for item in _due(engine, 102.0)] == ["1.9.1", "1.9.2"]
    [first] = _due(engine, 200.0, limit=1)
    assert (first.path, first.attempt, first.study_instance_uid) == (Path("/reports/1.dcm"), 1, "1.2.1")
    assert _due(engine, 200.0, destination="other") == []


def test_sent_is_final(engine: sa.Engine) -> None:
    _enqueue(engine, 1, 100.0)
    _attempt(engine, 101.0, _SUCCESS)
    assert _attempt(engine, 10_000.0, _SUCCESS) == []
    [delivery] = _list(engine)
    assert (delivery.state, delivery.attempts, delivery.finished_at, delivery.last_status) == ("sent", 1, 101.0, 0)
    [event] = _events(engine)
    assert (event.kind, event.study_instance_uid, event.sop_instance_uid, event.ae_title) == (
        "report-sent", "1.2.1", "1.9.1", "ARCHIVE",
    )  # fmt: skip


def test_recording_an_attempt_twice_changes_nothing(engine: sa.Engine) -> None:
    _enqueue(engine, 1, 100.0)
    [item] = _due(engine, 101.0)
    for _ in range(3):
        _record(engine, 101.0, _outcome(item, _BAD_OBJECT))
    [delivery] = _list(engine)
    assert (delivery.attempts, len(delivery.history), delivery.next_attempt_at) == (1, 1, 111.0)
    assert [event.kind for event in _events(engine)] == ["report-failed"]
    [again] = _due(engine, 111.0)
    assert again.attempt == 2
    for _ in range(2):
        _record(engine, 112.0, _outcome(again, _SUCCESS))
    assert [event.kind for event in _events(engine)] == ["report-failed", "report-sent"]


def test_an_outcome_of_no_delivery_is_an_error(engine: sa.Engine) -> None:
    item = DueDelivery(
        delivery_id=5, report_uid="1", study_instance_uid="1", destination="pacs", attempt=1, path=Path("x")
    )
    with pytest.raises(DeliveryError, match="no delivery 5"):
        _record(engine, 1.0, _outcome(item, _SUCCESS))


def test_failures_back_off_then_end_as_a_dead_letter(engine: sa.Engine) -> None:
    _enqueue(engine, 1, 0.0)
    now, tried_at = 0.0, []
    while _list(engine, state="waiting"):
        if _attempt(engine, now, _BAD_OBJECT):
            tried_at.append(now)
        now += 10.0
    assert tried_at == [0, 10, 30, 70, *range(150, 1051, 100)]
    [delivery] = _list(engine, state="dead")
    assert [attempt.number for attempt in delivery.history] == list(range(1, len(tried_at) + 1))
    assert [attempt.attempted_at for attempt in delivery.history] == tried_at
    kinds = [event.kind for event in _events(engine)]
    assert kinds == ["report-failed"] * len(tried_at) + ["delivery-dead"]


def test_a_retried_dead_letter_starts_anew(engine: sa.Engine) -> None:
    _enqueue(engine, 1, 0.0)
    _attempt(engine, 2000.0, _BAD_OBJECT)
    assert _due(engine, 9000.0) == []
    with transaction(engine) as connection:
        done = retry_deliveries(connection, None, 9000.0, who="admin", ae_titles={"pacs": "ARCHIVE"})
    assert done.done == (1,)
    _attempt(engine, 9000.0, _BAD_OBJECT)
    [delivery] = _list(engine)
    assert (delivery.state, delivery.attempts, delivery.next_attempt_at) == ("waiting", 2, 9010.0)
    _attempt(engine, 9010.0, _SUCCESS)
    assert [event.kind for event in _events(engine)] == [
        "report-failed", "delivery-dead", "delivery-retried", "report-failed", "report-sent",
    ]  # fmt: skip
    retried = json.loads(_events(engine)[2].payload)
    assert (retried["payload"]["who"], retried["ae_title"]) == ("admin", "ARCHIVE")


def test_what_has_waited_for_a_name_that_no_destination_has_is_given_up(engine: sa.Engine) -> None:
    for number, queued_at in ((1, 0.0), (2, 900.0)):
        _enqueue(engine, number, queued_at)
    with transaction(engine) as connection:
        assert give_up_unknown(connection, ["pacs"], 1000.0) == 0
        assert give_up_unknown(connection, ["other"], 1000.0, waiting_for_s=300.0) == 1
    assert [(each.delivery_id, each.state) for each in _list(engine)] == [(1, "dead"), (2, "waiting")]
    [event] = _events(engine)
    assert (event.kind, "no destination is named 'pacs'" in event.payload) == ("delivery-dead", True)
    with transaction(engine) as connection:
        assert give_up_unknown(connection, [], 1000.0) == 1


def test_a_retry_by_number_takes_waiting_ones_and_no_sent_ones(engine: sa.Engine) -> None:
    for number in (1, 2, 3):
        _enqueue(engine, number, 0.0)
    first, second, third = _due(engine, 0.0)
    _record(engine, 0.0, _outcome(first, _SUCCESS), _outcome(second, _BAD_OBJECT), _outcome(third, _BAD_OBJECT))
    known = {"pacs": "ARCHIVE", "other": "OTHER"}
    with transaction(engine) as connection:
        assert retry_deliveries(connection, [1, 2, 99], 1.0, ae_titles=known).done == (2,)
        assert retry_deliveries(connection, None, 1.0, ae_titles=known).done == ()
        assert retry_deliveries(connection, [3], 1.0, destination="other", ae_titles=known).done == ()
    assert _attempt(engine, 1.0, _SUCCESS) == [2]


def test_a_silent_destination_is_probed_by_one_delivery(engine: sa.Engine) -> None:
    for number in range(1, 6):
        _enqueue(engine, number, 0.0)
    tried = [(now, len(_attempt(engine, float(now), _SILENCE))) for now in range(120)]
    assert [each for each in tried if each[1]] == [(0, 5), (10, 5), (30, 5), (70, 1), (90, 1)]
    with reading(engine) as connection:
        state = circuit_of(connection, "pacs", _RETRY, 119.0)
    assert (state.state, state.failures, state.probe_at) == (CircuitState.OPEN, 5, 130.0)


def test_when_the_destination_is_back_all_go_at_once_and_once(engine: sa.Engine) -> None:
    for number in range(1, 6):
        _enqueue(engine, number, 0.0)
    for now in range(120):
        _attempt(engine, float(now), _SILENCE)
    assert len(_attempt(engine, 180.0, _SUCCESS)) == 1
    assert len(_attempt(engine, 180.0, _SUCCESS)) == 4
    assert _attempt(engine, 10_000.0, _SUCCESS) == []
    sent = _list(engine, state="sent")
    assert len(sent) == 5
    for delivery in sent:
        assert [attempt.succeeded for attempt in delivery.history][-1]
        assert [attempt.number for attempt in delivery.history] == list(range(1, len(delivery.history) + 1))
        moments = [attempt.attempted_at for attempt in delivery.history]
        assert moments == sorted(moments)
    with reading(engine) as connection:
        assert circuit_of(connection, "pacs", _RETRY, 180.0).state is CircuitState.CLOSED


def test_what_waited_too_long_for_a_silent_destination_is_given_up_together(engine: sa.Engine) -> None:
    for number in range(1, 6):
        _enqueue(engine, number, 0.0)
    _enqueue(engine, 6, 900.0)
    for now in range(0, 1200, 5):
        _attempt(engine, float(now), _SILENCE)
    assert [each.state for each in _list(engine)] == ["dead"] * 5 + ["waiting"]
    dead = [event for event in _events(engine) if event.kind == "delivery-dead"]
    assert sorted(event.sop_instance_uid for event in dead) == [f"1.9.{number}" for number in range(1, 6)]
    assert len({event.occurred_at for event in dead}) == 1
    with reading(engine) as connection:
        assert audit.verify(connection).ok


def test_a_new_report_may_probe_an_open_circuit_sooner(engine: sa.Engine) -> None:
    _enqueue(engine, 1, 0.0)
    for now in range(200):
        _attempt(engine, float(now), _SILENCE)
    [old] = _list(engine)
    assert old.next_attempt_at == 250.0
    _enqueue(engine, 2, 155.0)
    assert _due(engine, 159.0) == []
    assert _attempt(engine, 160.0, _SUCCESS) == [2]
    assert _attempt(engine, 160.0, _SUCCESS) == [1]


def test_a_full_disk_opens_the_circuit_and_a_bad_object_does_not(engine: sa.Engine) -> None:
    _enqueue(engine, 1, 0.0)
    _enqueue(engine, 2, 0.0, "archive")
    for now in (0.0, 10.0, 30.0):
        _attempt(engine, now, _BAD_OBJECT)
        for item in _due(engine, now, destination="archive"):
            _record(engine, now, _outcome(item, _FULL))
    with reading(engine) as connection:
        assert circuit_of(connection, "pacs", _RETRY, 30.0).state is CircuitState.CLOSED
        assert circuit_of(connection, "archive", _RETRY, 30.0).state is CircuitState.OPEN


def test_events_name_the_patient_and_the_order(engine: sa.Engine) -> None:
    _enqueue(engine, 1, 0.0)
    row = {
        "sop_instance_uid": "1.2.1.1", "sop_class_uid": "1", "study_instance_uid": "1.2.1", "series_instance_uid": "1",
        "transfer_syntax_uid": "1", "content_sha256": "ab" * 32, "size_bytes": 1, "path": "x", "calling_ae_title": "A",
        "called_ae_title": "B", "host": "h", "received_at": 0.0, "patient_id": "P1", "accession_number": "A1",
    }  # fmt: skip
    with transaction(engine) as connection:
        connection.execute(sa.insert(instances).values(row))
    _attempt(engine, 1.0, _SUCCESS)
    [event] = _events(engine)
    assert (event.patient_id, event.accession_number, event.occurred_at) == ("P1", "A1", "1970-01-01T00:00:01.000000Z")
    payload = json.loads(event.payload)["payload"]
    assert (payload["destination"], payload["attempt"], payload["status"]) == ("pacs", 1, "0x0000")
