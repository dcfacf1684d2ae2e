"""``audit query`` and ``audit verify`` as an auditor uses them."""

import argparse
import csv
import io
import json
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.audit.commands import add_arguments
from medfake_pacs.config import Settings, parse_settings
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.entities import AuditEvent
from tests.audit_log import tamper

_DAY_S = 86_400.0
_MODEL = "ab" * 32


def _run(settings: Settings, *words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser.add_subparsers())
    args = parser.parse_args(["audit", *words])
    return int(args.run(settings, args))


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    document = {
        "node": {"state_dir": "state"},
        "database": {"url": database_url},
        "audit": {"anchor_file": "anchor"},
    }
    return parse_settings(document, base=tmp_path)


@pytest.fixture
def log(settings: Settings) -> Settings:
    """Four days of events: two patients, two verdicts, one delivery that failed."""
    engine = open_engine(settings.database_url)
    upgrade(engine)
    events = [
        AuditEvent(kind="instance-received", patient_id="P1", accession_number="A1", study_instance_uid="1.1",
                   series_instance_uid="1.1.1", sop_instance_uid="1.1.1.1", ae_title="CT1"),
        AuditEvent(kind="study-verdict", patient_id="P1", accession_number="A1", study_instance_uid="1.1",
                   verdict="fake", model_sha256=_MODEL, payload={"model": "lung-ct", "probability": 0.9}),
        AuditEvent(kind="study-verdict", patient_id="P2", accession_number="A2", study_instance_uid="1.2",
                   verdict="not assessed", payload={"reason": 'no route, "model":"lung-ct" looked like it'}),
        AuditEvent(kind="report-failed", patient_id="P1", study_instance_uid="1.1", ae_title="ARCHIVE",
                   sop_instance_uid="2.25.1",
                   payload={"destination": "pacs", "sent_sop_instance_uid": "2.25.2"}),
    ]  # fmt: skip
    with transaction(engine) as connection:
        for day, event in enumerate(events):
            audit.append(connection, event, occurred_at=day * _DAY_S)
    engine.dispose()
    return settings


def _found(settings: Settings, capsys: pytest.CaptureFixture[str], *words: str) -> list[int]:
    assert _run(settings, "query", *words, "--format", "jsonl") == 0
    return [json.loads(line)["event"]["seq"] for line in capsys.readouterr().out.splitlines()]


def test_every_filter_finds_its_rows(log: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        ("--patient", "P1"): [1, 2, 4],
        ("--patient", "P%"): [],
        ("--accession", "A2"): [3],
        ("--study", "1.1"): [1, 2, 4],
        ("--series", "1.1.1"): [1],
        ("--instance", "1.1.1.1"): [1],
        ("--instance", "2.25.1"): [4],
        ("--instance", "2.25.2"): [4],
        ("--instance", "2.25"): [],
        ("--verdict", "fake"): [2],
        ("--verdict", "not-assessed"): [3],
        ("--model", "abab" * 2): [2],
        ("--model", "lung-ct"): [2],
        ("--model", "lung"): [],
        ("--ae-title", "CT1"): [1],
        ("--kind", "study-verdict"): [2, 3],
        ("--destination", "pacs"): [4],
        ("--since", "1970-01-02", "--until", "1970-01-03"): [2, 3],
        ("--until", "1970-01-02T00:00:00"): [1],
        ("--patient", "P1", "--kind", "study-verdict", "--verdict", "fake"): [2],
        ("--limit", "2"): [1, 2],
        ("--patient", "' OR 1=1 --"): [],
    }
    for words, rows in expected.items():
        assert _found(log, capsys, *words) == rows, words


def test_reading_the_log_is_in_the_log(log: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    _found(log, capsys, "--patient", "P1")
    assert _run(log, "verify") == 0
    capsys.readouterr()
    _run(log, "query", "--kind", "log-read", "--format", "jsonl")
    first, second = (json.loads(line)["event"] for line in capsys.readouterr().out.splitlines())
    assert first["payload"]["filters"] == {"--patient": "P1"}
    assert first["payload"]["who"]
    assert second["payload"]["filters"] == {"--kind": "log-read"}
    assert _found(log, capsys, "--kind", "log-verified") == [6]


def test_csv_and_table_hold_the_same_rows(log: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(log, "query", "--patient", "P1", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["seq"] for row in rows] == ["1", "2", "4"]
    assert rows[1]["text"] == "model=lung-ct probability=0.9"
    assert _run(log, "query", "--patient", "P1") == 0
    table = capsys.readouterr().out
    assert all(row["kind"] in table for row in rows)
    assert "probability=0.9" in table
    assert _run(log, "query", "--patient", "nobody") == 0
    assert capsys.readouterr().out == "no rows\n"


@pytest.mark.parametrize(
    "words", [("--since", "yesterday"), ("--verdict", "true"), ("--limit", "0"), ("--format", "xml")]
)
def test_a_condition_that_makes_no_sense_is_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        _run(parse_settings({}, base=tmp_path), "query", *words)
    assert exit_info.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_verify_says_what_is_whole(log: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(log, "verify") == 0
    output = capsys.readouterr()
    assert "the log is whole: 4 rows, 0 anchors" in output.out
    assert "no anchor" in output.err
    engine = open_engine(log.database_url)
    with reading(engine) as connection:
        assert log.anchor_file is not None
        audit.write_anchor(connection, log.anchor_file)
    engine.dispose()
    assert _run(log, "verify") == 0
    output = capsys.readouterr()
    assert "the log is whole: 5 rows, 1 anchors" in output.out
    assert output.err == ""


def test_verify_says_what_it_cannot_know_without_an_anchor_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = parse_settings({"node": {"state_dir": "state"}}, base=tmp_path)
    engine = open_engine(settings.database_url)
    upgrade(engine)
    with transaction(engine) as connection:
        audit.append(connection, AuditEvent(kind="node-started"))
    engine.dispose()
    assert _run(settings, "verify") == 0
    assert "no anchor file (audit.anchor_file, --anchor): a log that was cut off" in capsys.readouterr().err


def test_verify_names_the_broken_row_and_leaves_a_broken_log_alone(
    log: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = open_engine(log.database_url)
    tamper(engine, "UPDATE audit_events SET verdict = 'real' WHERE seq = 2")
    assert _run(log, "verify") == 1
    assert "the log is broken at row 2: verdict of row 2 isn't what its payload says" in capsys.readouterr().out
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM audit_events")).scalar_one() == 4
    engine.dispose()


def test_without_a_log_both_say_so(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("query", "verify"):
        assert _run(settings, command) == 2
        assert "there is no log yet" in capsys.readouterr().err
    assert not settings.node.state_dir.exists()


@pytest.mark.serial
def test_a_long_log_is_written_and_verified_in_seconds(tmp_path: Path) -> None:
    """Bounds for a busy machine; 0.13 ms for an append and 22 µs for a check were measured on an idle one."""
    engine = open_engine(f"sqlite:///{tmp_path / 'medfake.db'}")
    upgrade(engine)
    rows = 20_000
    started = time.monotonic()
    with transaction(engine) as connection:
        for number in range(rows):
            audit.append(connection, AuditEvent(kind="image-scored", patient_id="P1", payload={"number": number}))
    appended = time.monotonic()
    with reading(engine) as connection:
        assert audit.verify(connection).rows == rows
    verified = time.monotonic()
    engine.dispose()
    assert appended - started < 0.002 * rows
    assert verified - appended < 10
