"""Open the database, and the two ways to use it: a serialised writing transaction, and a reading one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

_BUSY_TIMEOUT_MS = 60_000
# 32 MB: at the usual 4 MB every hundredth object or so waits for a checkpoint, and with it its sender.
_CHECKPOINT_PAGES = 8000
Insert = sqlite.Insert | postgresql.Insert


def open_engine(url: str) -> sa.Engine:
    """Return an engine for ``url``; a SQLite file's folder is made.

    The text of a database error never holds a statement's values, which are patient data.
    SQLite runs in WAL mode with ``synchronous=FULL``: a committed row survives a power cut, which is what
    an answered C-STORE promises.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True, pool_size=8, max_overflow=24)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": _BUSY_TIMEOUT_MS / 1000, "isolation_level": None}
    engine = sa.create_engine(parsed, hide_parameters=True, connect_args=arguments)
    sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection in a writing transaction; commit at the end, roll back on an error.

    On SQLite it takes the write lock at once (BEGIN IMMEDIATE), so that two writers queue up instead of
    one failing half-way.
    """
    with engine.connect() as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection whose statements see one snapshot and take no write lock."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        yield connection
        connection.rollback()


def insert_into(connection: sa.Connection, table: sa.Table) -> Insert:
    """Return an INSERT for ``table`` that knows ON CONFLICT in the connection's dialect."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: sa.Table) -> Insert:
    """Return an INSERT for ``table`` that knows ON CONFLICT in the dialect of that name."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def database_id(engine: sa.Engine) -> str:
    """Return the id that the database got when its tables were made; a restored copy keeps it."""
    with reading(engine) as connection:
        return str(connection.execute(sa.text("SELECT database_id FROM identity")).scalar_one())
