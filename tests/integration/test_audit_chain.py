"""The chain on both databases: appended under concurrency, append-only, anchored outside."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.entities import AuditEvent
from medfake_pacs.errors import AuditError
from tests.audit_log import ROWS, fill, tamper, verdict_event, verify
from tests.support import REPOSITORY

_APPENDER = """
import sys
from medfake_pacs import audit
from medfake_pacs.database import open_engine, transaction
from medfake_pacs.entities import AuditEvent
engine = open_engine(sys.argv[1])
for number in range(50):
    with transaction(engine) as connection:
        audit.append(connection, AuditEvent(kind="image-scored", ae_title=sys.argv[2], payload={"number": number}))
"""


@pytest.fixture
def url(database_url: str, tmp_path: Path) -> str:
    return database_url or f"sqlite:///{tmp_path / 'medfake.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = open_engine(url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def log(engine: sa.Engine) -> sa.Engine:
    return fill(engine)


def test_an_empty_log_is_whole(engine: sa.Engine) -> None:
    assert verify(engine) == audit.Verification(ok=True, rows=0, head="0" * 64)


def test_a_log_is_whole_and_says_what_was_appended(log: sa.Engine) -> None:
    result = verify(log)
    assert (result.ok, result.rows, result.reason) == (True, ROWS, "")
    with reading(log) as connection:
        last = list(audit.query(connection))[-1]
    assert (last.hash, last.sop_instance_uid, last.verdict) == (result.head, f"1.2.3.4.{ROWS}", "fake")


def test_text_that_databases_cannot_hold_is_kept_visibly(engine: sa.Engine) -> None:
    event = AuditEvent(kind="instance-received", patient_id="A\0B\udcff", payload={"k\0": "\ud800", "n": 2**70})
    with transaction(engine) as connection:
        audit.append(connection, event)
    assert verify(engine).ok
    with reading(engine) as connection:
        [row] = audit.query(connection)
    assert row.patient_id == "A\\x00B\\udcff"


def test_a_patient_id_of_any_length_can_be_indexed(engine: sa.Engine) -> None:
    event = AuditEvent(kind="instance-received", patient_id="".join(map(chr, range(0x4E00, 0x4E00 + 5000))))
    with transaction(engine) as connection:
        audit.append(connection, event)
    assert verify(engine).ok
    with reading(engine) as connection:
        [row] = audit.query(connection)
    assert (len(row.patient_id), row.patient_id[-1]) == (256, "…")


def test_four_processes_append_without_a_gap(engine: sa.Engine, url: str) -> None:
    command = [sys.executable, "-c", _APPENDER, url]
    writers = [subprocess.Popen([*command, f"W{number}"], cwd=REPOSITORY) for number in range(4)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0, 0]
    result = verify(engine)
    assert (result.ok, result.rows, result.reason) == (True, 200, "")
    with reading(engine) as connection:
        writers_in_order = [row.ae_title for row in audit.query(connection)]
    assert sorted(writers_in_order) == [f"W{number}" for number in range(4) for _ in range(50)]


def test_append_needs_a_transaction(engine: sa.Engine) -> None:
    with engine.connect() as connection, pytest.raises(AuditError, match=r"database\.transaction"):
        audit.append(connection, verdict_event())


def test_an_event_of_a_transaction_that_fails_is_gone(log: sa.Engine) -> None:
    with pytest.raises(sa.exc.DatabaseError), transaction(log) as connection:  # noqa: PT012
        audit.append(connection, verdict_event())
        connection.exec_driver_sql("SELECT nonsense")
    with transaction(log) as connection:
        assert audit.append(connection, verdict_event()) == ROWS + 1
    assert verify(log).ok


@pytest.fixture
def sqlite_log(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'medfake.db'}")
    upgrade(engine)
    yield fill(engine)
    engine.dispose()


@pytest.mark.parametrize("kind", ["", "Study Verdict", "x" * 33, "a_b", "a-", "kind\n"])
def test_a_kind_is_words_joined_by_hyphens(sqlite_log: sa.Engine, kind: str) -> None:
    with transaction(sqlite_log) as connection, pytest.raises(AuditError, match="no kind of event"):
        audit.append(connection, AuditEvent(kind=kind))


@pytest.mark.parametrize("statement", ["UPDATE audit_events SET verdict = 'real'", "DELETE FROM audit_events"])
def test_rows_can_be_neither_changed_nor_deleted(log: sa.Engine, statement: str) -> None:
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), transaction(log) as connection:
        connection.exec_driver_sql(statement)
    assert verify(log).rows == ROWS


def test_triggers_that_are_gone_are_noticed(log: sa.Engine) -> None:
    assert verify(log).warnings == ()
    tamper(log)
    result = verify(log)
    assert result.ok
    assert len(result.warnings) == 3
    expected = "is gone" if log.dialect.name == "sqlite" else "may refuse nothing"
    assert all(expected in warning for warning in result.warnings)


_COPY = "(occurred_at, kind, payload, {columns}) SELECT occurred_at, kind, payload, {values} FROM audit_events "


@pytest.mark.parametrize(
    ("seq", "previous_hash", "hashed"),
    [
        ("seq", "previous_hash", "hash"),  # the same row once more, or in its place
        ("seq", "previous_hash", "'f'"),
        (f"{ROWS} + 1", "previous_hash", "'f'"),
        (f"{ROWS} + 2", "(SELECT hash FROM audit_events WHERE seq = 6)", "'f'"),
        (f"{ROWS} + 1", "(SELECT hash FROM audit_events WHERE seq = 6)", "hash"),  # replaces row 3 by its hash
        ("0", "previous_hash", "'f'"),
        ("NULL", "previous_hash", "'f'"),
    ],
)
def test_a_row_that_does_not_continue_the_chain_is_refused(
    log: sa.Engine, seq: str, previous_hash: str, hashed: str
) -> None:
    copy = _COPY.format(columns="seq, previous_hash, hash", values=f"{seq}, {previous_hash}, {hashed}")
    replacing = "INSERT OR REPLACE" if log.dialect.name == "sqlite" else "INSERT"
    with pytest.raises(sa.exc.DatabaseError), transaction(log) as connection:
        connection.exec_driver_sql(f"{replacing} INTO audit_events {copy} WHERE seq = 3")
    result = verify(log)
    assert (result.ok, result.rows, result.warnings) == (True, ROWS, ())


_WEAKENED = {
    "sqlite": [
        "DROP TRIGGER audit_events_no_update",
        "CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events WHEN 0 "
        "BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END",
    ],
    "postgresql": [
        "DROP TRIGGER audit_events_no_change ON audit_events",
        "CREATE TRIGGER audit_events_no_change BEFORE DELETE OR UPDATE ON audit_events "
        "FOR EACH ROW WHEN (false) EXECUTE FUNCTION audit_events_refuse()",
    ],
}


def test_a_trigger_that_was_made_anew_is_noticed(log: sa.Engine) -> None:
    name = {"sqlite": "no_update", "postgresql": "no_change"}[log.dialect.name]
    with transaction(log) as connection:
        for statement in _WEAKENED[log.dialect.name]:
            connection.exec_driver_sql(statement)
    [warning] = verify(log).warnings
    assert f"the trigger audit_events_{name} isn't the one that was made" in warning


def test_postgresql_notices_another_body_and_a_trigger_too_many(postgresql_url: str) -> None:
    engine = open_engine(postgresql_url)
    upgrade(engine)
    with transaction(engine) as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION audit_events_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER a BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_events_refuse()"
        )
    first, second = verify(engine).warnings
    assert "the trigger a on the log isn't one of the node's" in first
    assert "the function audit_events_refuse isn't the one that was made" in second
    engine.dispose()


def test_postgresql_refuses_truncate_too(postgresql_url: str) -> None:
    engine = open_engine(postgresql_url)
    upgrade(engine)
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), transaction(engine) as connection:
        connection.exec_driver_sql("TRUNCATE audit_events")
    engine.dispose()


def test_a_cut_off_end_shows_by_the_anchor_only(log: sa.Engine, tmp_path: Path) -> None:
    anchor_file = tmp_path / "anchor" / "heads"
    with reading(log) as connection:
        audit.write_anchor(connection, anchor_file)
    assert verify(log, anchor_file).anchors == 1
    tamper(log, f"DELETE FROM audit_events WHERE seq >= {ROWS - 1}")
    assert verify(log).ok
    result = verify(log, anchor_file)
    assert (result.ok, result.first_broken_seq) == (False, ROWS - 1)
    assert f"the log ends at row {ROWS - 2}" in result.reason
    with reading(log) as connection, pytest.raises(AuditError, match="no longer holds"):
        audit.write_anchor(connection, anchor_file)


def test_a_rewritten_chain_shows_by_the_anchor_only(log: sa.Engine, tmp_path: Path) -> None:
    anchor_file = tmp_path / "heads"
    with reading(log) as connection:
        audit.write_anchor(connection, anchor_file)
    tamper(log, "DELETE FROM audit_events WHERE seq >= 3")
    with transaction(log) as connection:
        for number in range(3, ROWS + 2):
            audit.append(connection, verdict_event(number))
    assert verify(log).ok
    result = verify(log, anchor_file)
    assert (result.ok, result.first_broken_seq) == (False, ROWS)
    assert "rewritten" in result.reason


def test_anchors_keep_their_history_and_repeat_nothing(log: sa.Engine, tmp_path: Path) -> None:
    anchor_file = tmp_path / "heads"

    def anchor() -> audit.Anchor | None:
        with reading(log) as connection:
            return audit.write_anchor(connection, anchor_file)

    first = anchor()
    assert anchor() is None
    with transaction(log) as connection:
        audit.append(connection, verdict_event())
    with anchor_file.open("ab") as file:
        file.write(b'{"torn')
    second = anchor()
    assert audit.read_anchors(anchor_file) == (first, second)
    assert re.fullmatch(rb"(\{.*\}\n){2}", anchor_file.read_bytes())
    result = verify(log, anchor_file)
    assert (result.ok, result.anchors) == (True, 2)


@pytest.mark.parametrize("line", [b"nonsense", b"{}", b"[]", b'{"time":"t","seq":"1","hash":"x"}', b"\xff"])
def test_a_damaged_anchor_file_is_no_proof(sqlite_log: sa.Engine, tmp_path: Path, line: bytes) -> None:
    anchor_file = tmp_path / "heads"
    anchor_file.write_bytes(line + b"\n")
    result = verify(sqlite_log, anchor_file)
    assert (result.ok, result.reason) == (False, "line 1 of the anchor file isn't an anchor")
