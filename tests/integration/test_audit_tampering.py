"""Every tampering with the rows, the indices or the file of the log is noticed, and the first broken row named."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.tables import audit_events
from tests.audit_log import fill, tamper, verdict_event, verify


@pytest.fixture
def sqlite_log(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'medfake.db'}")
    upgrade(engine)
    yield fill(engine)
    engine.dispose()


_COLUMNS = [column.name for column in audit_events.columns if column.name != "seq"]


def _change_one_character(column: str) -> str:
    other = f"CASE substr({column}, 2, 1) WHEN '0' THEN '1' ELSE '0' END"
    return f"UPDATE audit_events SET {column} = substr({column}, 1, 1) || {other} || substr({column}, 3) WHERE seq = 4"


@pytest.mark.parametrize("column", _COLUMNS)
def test_one_changed_character_in_any_column_is_named(sqlite_log: sa.Engine, column: str) -> None:
    tamper(sqlite_log, _change_one_character(column))
    result = verify(sqlite_log)
    assert (result.ok, result.first_broken_seq, result.rows) == (False, 4, 3)
    assert "row 4" in result.reason


def test_every_byte_of_a_payload_counts(sqlite_log: sa.Engine) -> None:
    with reading(sqlite_log) as connection:
        payload = connection.execute(sa.select(audit_events.c.payload).where(audit_events.c.seq == 3)).scalar_one()
    tamper(sqlite_log)
    with sqlite_log.connect() as connection:
        for position in range(len(payload)):
            character = "x" if payload[position] != "x" else "y"
            changed = payload[:position] + character + payload[position + 1 :]
            with connection.begin() as attempt:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.execute(sa.update(audit_events).where(audit_events.c.seq == 3).values(payload=changed))
                assert audit.verify(connection).first_broken_seq == 3
                attempt.rollback()
    assert verify(sqlite_log).ok


_TAMPERINGS = [
    (["DELETE FROM audit_events WHERE seq = 3"], 3, "row 3 is missing"),
    (["DELETE FROM audit_events WHERE seq = 1"], 1, "row 1 is missing"),
    (["UPDATE audit_events SET seq = seq + 100 WHERE seq > 3"], 4, "row 4 is missing"),
    (
        [
            "UPDATE audit_events SET seq = -3 WHERE seq = 3",
            "UPDATE audit_events SET seq = 3 WHERE seq = 4",
            "UPDATE audit_events SET seq = 4 WHERE seq = -3",
        ],
        3,
        "previous_hash of row 3",
    ),
    (
        [
            "UPDATE audit_events SET seq = seq + 100 WHERE seq > 3",
            "UPDATE audit_events SET seq = seq - 99 WHERE seq > 100",
            "INSERT INTO audit_events (seq, occurred_at, kind, payload, previous_hash, hash) "
            "SELECT 4, occurred_at, kind, payload, hash, 'f' FROM audit_events WHERE seq = 3",
        ],
        4,
        "row 4",
    ),
    (
        [
            "INSERT INTO audit_events (seq, occurred_at, kind, payload, previous_hash, hash) "
            "VALUES (0, 'x', 'x', '{}', '0', 'f')"
        ],
        0,
        "row 0 was added",
    ),
]


@pytest.mark.parametrize(
    ("statements", "broken", "reason"),
    _TAMPERINGS,
    ids=["middle", "first", "gap", "reordered", "inserted", "before-the-first"],
)
def test_rows_removed_moved_or_added_are_named(
    sqlite_log: sa.Engine, statements: list[str], broken: int, reason: str
) -> None:
    tamper(sqlite_log, *statements)
    result = verify(sqlite_log)
    assert (result.ok, result.first_broken_seq) == (False, broken)
    assert reason in result.reason


def test_postgresql_names_every_tampering_too(postgresql_url: str) -> None:
    engine = open_engine(postgresql_url)
    upgrade(engine)
    tamper(fill(engine))
    attempts = [([_change_one_character(column)], 4) for column in _COLUMNS]
    attempts += [(statements, broken) for statements, broken, _ in _TAMPERINGS]
    with engine.connect() as connection:
        for statements, broken in attempts:
            with connection.begin() as attempt:
                for statement in statements:
                    connection.exec_driver_sql(statement)
                assert audit.verify(connection).first_broken_seq == broken, statements
                attempt.rollback()
    assert verify(engine).ok
    engine.dispose()


def test_a_value_of_another_type_is_named(tmp_path: Path) -> None:
    """SQLite keeps a BLOB in a text column: the bytes are the same, but no search finds the row."""
    engine = open_engine(f"sqlite:///{tmp_path / 'medfake.db'}")
    upgrade(engine)
    with transaction(engine) as connection:
        audit.append(connection, verdict_event())
    tamper(engine, "UPDATE audit_events SET patient_id = CAST(patient_id AS BLOB)")
    result = verify(engine)
    assert (result.ok, result.first_broken_seq) == (False, 1)
    assert "another type" in result.reason
    engine.dispose()


def _closed_log(tmp_path: Path) -> Path:
    path = tmp_path / "medfake.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    with transaction(engine) as connection:
        for number in range(200):
            audit.append(connection, verdict_event(number))
    engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def _patch(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_a_byte_edited_in_the_database_file_is_named(tmp_path: Path) -> None:
    path = _closed_log(tmp_path)
    _patch(path, lambda content: content.replace(b'"number":100,', b'"number":101,'))
    engine = open_engine(f"sqlite:///{path}")
    assert verify(engine).first_broken_seq == 101
    engine.dispose()


def test_text_that_is_no_longer_utf_8_is_named(tmp_path: Path) -> None:
    path = _closed_log(tmp_path)
    _patch(path, lambda content: content.replace(b'"number":100,', b'"number":\xff00,'))
    engine = open_engine(f"sqlite:///{path}")
    assert verify(engine).first_broken_seq == 101
    engine.dispose()


def test_an_index_that_hides_a_row_is_noticed(tmp_path: Path) -> None:
    """A query by patient reads the index only: the chain alone wouldn't show this."""
    path = _closed_log(tmp_path)
    with sqlite3.connect(path) as connection:
        [page] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_audit_events_verdict_seq'"
        ).fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()

    def change(content: bytes) -> bytes:
        start = (page - 1) * size
        return content[:start] + content[start : start + size].replace(b"fake", b"real") + content[start + size :]

    _patch(path, change)
    engine = open_engine(f"sqlite:///{path}")
    result = verify(engine)
    engine.dispose()
    assert not result.ok
    assert "damaged" in result.reason


def test_a_damaged_page_ends_the_check_with_a_reason(tmp_path: Path) -> None:
    path = _closed_log(tmp_path)
    with sqlite3.connect(path) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'audit_events'").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    _patch(path, lambda content: content[: (page - 1) * size] + b"\xff" * size + content[page * size :])
    engine = open_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        result = audit.verify(connection)
    engine.dispose()
    assert not result.ok
    assert "can't read the log any further" in result.reason
