"""Metrics: the names are those of operations.md, an event is counted once, a scrape survives the database."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from medfake_pacs import audit
from medfake_pacs.console.operations.event_counts import EventCounts
from medfake_pacs.console.operations.node_collector import METRICS
from medfake_pacs.database import transaction
from medfake_pacs.database.heartbeat import beat
from medfake_pacs.database.tables import deliveries, studies
from medfake_pacs.entities import AuditEvent
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.support import REPOSITORY, wait_for

_EXTRA = {"destinations": [{"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 1}]}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console with one destination."""
    with running_console(console_settings(tmp_path, database_url, _EXTRA)) as running:
        yield running


def _scrape(console: ConsoleServer) -> Samples:
    console.services.answers.forget()
    answer = console.anonymous().get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def _log(console: ConsoleServer, kind: str, number: int) -> None:
    with transaction(console.engine) as connection:
        for _ in range(number):
            audit.append(connection, AuditEvent(kind=kind))


def test_events_are_counted_whole_once_and_then_by_what_is_new(console: ConsoleServer) -> None:
    _log(console, "instance-received", 3)
    assert _value(_scrape(console), "medfake_events_total", kind="instance-received") == 3
    _log(console, "instance-received", 2)
    _log(console, "study-verdict", 1)
    samples = _scrape(console)
    assert _value(samples, "medfake_events_total", kind="instance-received") == 5
    assert _value(samples, "medfake_events_total", kind="study-verdict") == 1


def test_a_scrape_reads_no_row_of_the_log_twice(console: ConsoleServer) -> None:
    _log(console, "instance-received", 5)
    counts = EventCounts(console.engine)
    wait_for(counts.current, 10, "the first count")
    _log(console, "instance-received", 2)
    read: list[str] = []

    def note(*arguments: object) -> None:
        read.append(str(arguments[2]))

    sa.event.listen(console.engine, "before_cursor_execute", note)
    try:
        assert counts.current() == {"instance-received": 7}
    finally:
        sa.event.remove(console.engine, "before_cursor_execute", note)
    [statement] = [each for each in read if "audit_events" in each]
    assert "seq >" in statement
    assert "GROUP BY" not in statement.upper()


def test_what_waits_for_how_long_and_who_is_alive(console: ConsoleServer) -> None:
    now = time.time()
    row = {"report_uid": "1.9", "study_instance_uid": "1.2", "created_at": now - 100, "next_attempt_at": now}
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(studies).values(study_instance_uid="1.2", opened_at=now - 60))
        connection.execute(sa.insert(deliveries).values(row | {"destination": "pacs"}))
        connection.execute(sa.insert(deliveries).values(row | {"destination": "gone", "state": "dead"}))
    beat(console.engine, f"{console.settings.node_id}/worker", "worker")
    samples = _scrape(console)
    assert _value(samples, "medfake_up") == 1
    assert _value(samples, "medfake_studies", state="arriving") == 1
    assert _value(samples, "medfake_deliveries", destination="pacs", state="waiting") == 1
    assert _value(samples, "medfake_deliveries", destination="gone", state="dead") == 1
    age_s = _value(samples, "medfake_queue_oldest_age_seconds", queue="reports", destination="pacs")
    assert age_s == pytest.approx(100, abs=10)
    assert _value(samples, "medfake_queue_oldest_age_seconds", queue="images", destination="") == 0
    node = console.settings.node_id
    assert _value(samples, "medfake_heartbeat_age_seconds", node=node, process="worker", role="worker") < 10
    models = {dict(labels)["name"] for name, labels in samples if name == "medfake_model_info"}
    assert models == {"lung-ct", "knee-xr"}


def test_a_scrape_without_a_database_says_so(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        connection.execute(sa.text("ALTER TABLE revisions RENAME TO revisions_away"))
    samples = _scrape(console)
    assert _value(samples, "medfake_up") == 0
    assert _value(samples, "medfake_spool_min_free_bytes") == 0


def test_every_metric_is_in_the_manual_and_in_the_answer(console: ConsoleServer) -> None:
    _log(console, "node-started", 1)
    beat(console.engine, f"{console.settings.node_id}/worker", "worker")
    manual = (REPOSITORY / "deploy" / "docs" / "operations.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `(medfake_[a-z_]+)", manual, re.MULTILINE))
    answered = {name for name, _labels in _scrape(console)}
    assert described == set(METRICS) == answered


def test_one_silent_process_of_several_is_an_alert() -> None:
    text = (REPOSITORY / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    expressions = dict(re.findall(r"alert: (\w+)\n\s+expr: (.+)", text))
    assert expressions["MedfakeProcessSilent"] == "medfake_heartbeat_age_seconds > 60"
    assert expressions["MedfakeRoleSilent"] == "min by (role) (medfake_heartbeat_age_seconds) > 60"


def test_the_alerts_name_metrics_that_there_are() -> None:
    text = (REPOSITORY / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"medfake_[a-z_]+", text)) <= set(METRICS)
