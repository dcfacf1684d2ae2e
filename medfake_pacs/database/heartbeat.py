"""Heartbeats: each process of each node that shares the database says that it is alive."""

import logging
import os
import threading
import time

import sqlalchemy as sa

from medfake_pacs.database.engine import insert_into, transaction
from medfake_pacs.database.tables import nodes

HEARTBEAT_S = 5.0
STALE_HEARTBEAT_S = 30.0
_LOGGER = logging.getLogger(__name__)


def database_time(connection: sa.Connection) -> float:
    """Return the time by the database's clock: those of two nodes may differ by more than a heartbeat."""
    if connection.dialect.name != "postgresql":
        return time.time()
    return float(connection.execute(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).scalar_one())


def beat(engine: sa.Engine, node_id: str, role: str, *, started_at: float | None = None) -> None:
    """Record that the process ``node_id`` is alive; without ``started_at`` it keeps the one on record.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database can't be written.
    """
    with transaction(engine) as connection:
        now = database_time(connection)
        alive = {"role": role, "process_id": os.getpid(), "heartbeat_at": now}
        if started_at is not None:
            alive["started_at"] = started_at
        row = {"node_id": node_id, "started_at": now} | alive
        statement = insert_into(connection, nodes).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=[nodes.c.node_id], set_=alive))


class Heart:
    """Beats in a thread of its own from ``start`` to ``stop``; a database that is away is logged, and no end."""

    def __init__(self, engine: sa.Engine, node_id: str, role: str) -> None:
        self._engine = engine
        self._node_id = node_id
        self._role = role
        self._started_at = time.time()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Beat at once, and then at each interval."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                beat(self._engine, self._node_id, self._role, started_at=self._started_at)
            except (sa.exc.SQLAlchemyError, OSError) as error:
                _LOGGER.error("no heartbeat", extra={"reason": type(error).__name__})
            if self._stopping.wait(HEARTBEAT_S):
                return
