"""Build the large database once and keep it: as a SQLite file, or in a PostgreSQL server of its own."""

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from medfake_pacs.database import console_tables, open_engine, transaction, upgrade
from medfake_pacs.database.tables import audit_events, deliveries, instances, studies
from tests.performance import console_data
from tests.postgresql import programs, running_server

_TABLES = (studies, deliveries, audit_events)
_BATCH = 5000
_IMAGES_OF_A_WAITING_STUDY = 20
_GENERATION = "3"
Say = Callable[[str], None]


@contextmanager
def large_database(kind: str, folder: Path, count: int, say: Say) -> Iterator[str]:
    """Yield the URL of a database with ``count`` studies, built unless one like it is in ``folder``."""
    name = f"console-{kind}-{count}-{_columns_digest()}"
    if kind == "sqlite":
        file = folder / f"{name}.db"
        url = f"sqlite:///{file}"
        _built(url, file.with_suffix(".done"), lambda: _remove_sqlite(file), count, say)
        yield url
        return
    binaries = programs()
    if binaries is None:
        raise RuntimeError("PostgreSQL is not installed")
    cluster = folder / name
    options = ["-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB"]
    with running_server(cluster, binaries, options) as server:
        url = f"{server}/console"

        def fresh() -> None:
            admin = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
            with contextlib.closing(admin.connect()) as connection:
                connection.exec_driver_sql("DROP DATABASE IF EXISTS console WITH (FORCE)")
                connection.exec_driver_sql("CREATE DATABASE console")
            admin.dispose()

        _built(url, folder / f"{name}.done", fresh, count, say)
        yield url


def _columns_digest() -> str:
    """Return what tells databases with other columns apart; indexes are brought up to date instead."""
    names = [
        f"{table.name}.{column.name}" for table in console_tables.metadata.sorted_tables for column in table.columns
    ]
    return hashlib.sha256("\n".join([_GENERATION, *names]).encode()).hexdigest()[:8]


def _built(url: str, done: Path, fresh: Callable[[], None], count: int, say: Say) -> None:
    if not done.exists():
        say(f"building {count:,} studies in {done.stem}: this takes some minutes, once")
        fresh()
        engine = open_engine(url)
        upgrade(engine)
        _drop_indexes(engine)
        _fill(engine, count, say)
        engine.dispose()
        done.write_text("")
    engine = open_engine(url)
    _bring_indexes_up_to_date(engine, say)
    engine.dispose()


def _remove_sqlite(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)


def _fill(engine: sa.Engine, count: int, say: Say) -> None:
    now = console_data.end_of_time()
    parts = (
        (studies, (console_data.study_columns(study) for study in console_data.made_studies(count, now))),
        (deliveries, _present(console_data.delivery_columns(study) for study in console_data.made_studies(count, now))),
        (instances, _images(count, now)),
        (audit_events, console_data.made_events(console_data.made_studies(count, now))),
    )
    for table, rows in parts:
        say(f"rows of {table.name}")
        if engine.dialect.name == "sqlite":
            _insert_sqlite(engine, table, rows)
        else:
            _copy_postgresql(engine, table, rows)


def _present(rows: Iterator[dict[str, object] | None]) -> Iterator[dict[str, object]]:
    return (row for row in rows if row is not None)


def _images(count: int, now: float) -> Iterator[dict[str, object]]:
    for study in console_data.made_studies(count, now):
        if study.verdict and not study.reopened:
            continue
        for number in range(_IMAGES_OF_A_WAITING_STUDY):
            yield {
                "sop_instance_uid": f"{study.uid}.5.{number}",
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                "study_instance_uid": study.uid,
                "series_instance_uid": f"{study.uid}.5",
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "content_sha256": "0" * 64,
                "size_bytes": 1,
                "path": "x",
                "calling_ae_title": study.sender,
                "called_ae_title": "MEDFAKE",
                "host": "192.0.2.7",
                "received_at": study.received_at,
            }


def _insert_sqlite(engine: sa.Engine, table: sa.Table, rows: Iterator[dict[str, object]]) -> None:
    with engine.connect() as connection:
        for pragma in ("synchronous=OFF", "cache_size=-1000000"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        statement = ""
        while batch := list(itertools.islice(rows, _BATCH)):
            if not statement:
                names = list(batch[0])
                statement = f"INSERT INTO {table.name} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"
            cursor = _driver(connection).cursor()
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(statement, [tuple(row.values()) for row in batch])
            cursor.execute("COMMIT")
            cursor.close()
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.invalidate()


def _copy_postgresql(engine: sa.Engine, table: sa.Table, rows: Iterator[dict[str, object]]) -> None:
    with engine.begin() as connection:
        first = next(rows)
        with _driver(connection).cursor() as cursor:
            with cursor.copy(f"COPY {table.name} ({', '.join(first)}) FROM STDIN") as copy:
                for row in itertools.chain([first], rows):
                    copy.write_row(tuple(row.values()))
            for column in table.primary_key.columns:
                if table.name in {"deliveries", "instances"}:
                    cursor.execute(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "
                        f"(SELECT max({column.name}) FROM {table.name}))"
                    )


def _driver(connection: sa.Connection) -> Any:
    driver = connection.connection.dbapi_connection
    assert driver is not None
    return driver


def _drop_indexes(engine: sa.Engine) -> None:
    """Without them the rows go in at a tenth of the time; unique constraints and triggers stay."""
    with transaction(engine) as connection:
        for table in _TABLES:
            for index in table.indexes:
                index.drop(connection)


def _bring_indexes_up_to_date(engine: sa.Engine, say: Say) -> None:
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        there = {
            (table.name, str(index["name"])): [str(name) for name in index["column_names"]]
            for table in _TABLES
            for index in inspector.get_indexes(table.name)
            if not index["unique"]
        }
    wanted = {
        (table.name, str(index.name)): (index, [column.name for column in index.columns])
        for table in _TABLES
        for index in table.indexes
    }
    changed = False
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size=-1000000")
        for key, columns in there.items():
            if key not in wanted or wanted[key][1] != columns:
                connection.exec_driver_sql(f'DROP INDEX "{key[1]}"')
        for key, (index, columns) in wanted.items():
            if there.get(key) != columns:
                say(f"index {key[1]}")
                index.create(connection)
                changed = True
    if changed and engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
