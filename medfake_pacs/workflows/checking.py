"""Assess uploaded images: the checks that the console recorded, one after the other."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import check_files, checks, users
from medfake_pacs.database.tables import nodes
from medfake_pacs.errors import MedfakeError
from medfake_pacs.workflows import check_assessment, check_results, check_turns
from medfake_pacs.workflows.completion import STALE_HEARTBEAT_S
from medfake_pacs.workflows.context import Context

MAXIMUM_ATTEMPTS = 3
_RETRY_S = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A check that this process has in hand; ``user_name`` is who uploaded it."""

    check_id: str
    model: str
    user_name: str
    created_at: float
    files: Sequence[sa.Row]


def run_waiting(context: Context, stopping: threading.Event) -> None:
    """Assess every check that waits, the accounts in turn, until there is none or the worker is ``stopping``.

    A check whose process died or broke off is begun again; one that broke off ``MAXIMUM_ATTEMPTS`` times has failed.
    """
    while not stopping.is_set():
        claimed = _claim(context, time.time())
        if claimed is None:
            return
        _run(context, claimed, stopping)


def _run(context: Context, claimed: Claimed, stopping: threading.Event) -> None:
    mine = _in_hand(context, claimed.check_id)

    def progress(done: int) -> bool:
        """Record how many images are done; False where this process is to stop, or lost the check to another."""
        with transaction(context.engine) as connection:
            statement = sa.update(checks).where(*mine).values(images_done=done)
            return connection.execute(statement).rowcount == 1 and not stopping.is_set()

    try:
        series = check_assessment.assess_files(context, claimed.files, claimed.model, progress)
        if series is None:
            _give_back(context, claimed.check_id)
            return
        crashpoints.reach("worker.check-assessed")
        result = check_results.write_reports(context, claimed.check_id, claimed.files, series, claimed.created_at)
    except (sa.exc.SQLAlchemyError, OSError, MemoryError) as error:
        # The node's fault: it is claimed again after a while.
        _log.error("a check broke off", extra={"check_id": claimed.check_id, "error": type(error).__name__})
        return
    except MedfakeError as error:
        _fail(context, claimed, str(error))
        return
    with transaction(context.engine) as connection:
        if check_results.record(connection, result, mine, time.time()):
            for event in check_results.events(claimed.check_id, claimed.user_name, claimed.files, result):
                audit.append(connection, event)
    crashpoints.reach("worker.check-recorded")


def _worker(context: Context) -> str:
    return f"{context.settings.node_id}/worker"


def _process(context: Context) -> str:
    return f"{_worker(context)}#{context.process_id}"


def _in_hand(context: Context, check_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions under which a check is still in this process' hand."""
    return (
        checks.c.check_id == check_id,
        checks.c.state == "running",
        checks.c.process_id == _process(context),
    )


def _claim(context: Context, now: float) -> Claimed | None:
    with reading(context.engine) as connection:
        free = [row for row in check_turns.in_turn(connection, now) if _is_free(context, connection, row, now)]
    for row in free:
        if row.state == "running" and row.attempts >= MAXIMUM_ATTEMPTS:
            reason = f"assessing it broke off {MAXIMUM_ATTEMPTS} times"
            _fail(context, _load(context, row), reason, held_by=row.process_id)
        elif _take(context, row, now):
            return _load(context, row)
    return None


def _is_free(context: Context, connection: sa.Connection, row: sa.Row, now: float) -> bool:
    """Tell whether nobody has a check in hand: it waits, it broke off here, or its process is dead."""
    if row.state == "waiting":
        return True
    if row.process_id == _process(context):
        return bool(now - row.started_at > _RETRY_S * row.attempts)
    worker = row.process_id.partition("#")[0]
    if worker == _worker(context):
        # A node has one worker, and that is this process.
        return True
    if now - row.started_at <= STALE_HEARTBEAT_S:
        return False
    # Heartbeats are by one clock, which may not be this machine's: the newest of them is now.
    newest = connection.execute(sa.select(sa.func.max(nodes.c.heartbeat_at))).scalar_one()
    beat = connection.execute(sa.select(nodes.c.heartbeat_at).where(nodes.c.node_id == worker)).scalar_one_or_none()
    return beat is None or beat < newest - STALE_HEARTBEAT_S


def _take(context: Context, row: sa.Row, now: float) -> bool:
    """Take a check in hand, unless another process was quicker."""
    same = (
        checks.c.check_id == row.check_id,
        checks.c.state == row.state,
        checks.c.process_id == row.process_id,
        checks.c.attempts == row.attempts,
    )
    values = {
        "state": "running",
        "process_id": _process(context),
        "attempts": row.attempts + 1,
        "started_at": now,
        "images_done": 0,
    }
    with transaction(context.engine) as connection:
        return connection.execute(sa.update(checks).where(*same).values(values)).rowcount == 1


def _load(context: Context, row: sa.Row) -> Claimed:
    with reading(context.engine) as connection:
        query = sa.select(check_files).where(check_files.c.check_id == row.check_id).order_by(check_files.c.file_id)
        files = connection.execute(query).all()
        name = connection.execute(sa.select(users.c.user_name).where(users.c.user_id == row.user_id)).scalar_one()
    return Claimed(check_id=row.check_id, model=row.model, user_name=name, created_at=row.created_at, files=files)


def _give_back(context: Context, check_id: str) -> None:
    """Have a check wait again that this process stopped in the middle of; the attempt doesn't count."""
    values = {"state": "waiting", "process_id": "", "attempts": checks.c.attempts - 1, "images_done": 0}
    with transaction(context.engine) as connection:
        connection.execute(sa.update(checks).where(*_in_hand(context, check_id)).values(values))


def _fail(context: Context, claimed: Claimed, reason: str, *, held_by: str = "") -> None:
    """Record that a check can't be assessed and why."""
    holder = held_by or _process(context)
    held = (checks.c.check_id == claimed.check_id, checks.c.state == "running", checks.c.process_id == holder)
    values = {"state": "failed", "reason": reason, "finished_at": time.time(), "process_id": ""}
    with transaction(context.engine) as connection:
        if connection.execute(sa.update(checks).where(*held).values(values)).rowcount == 1:
            event = check_results.failure(connection, claimed.check_id, claimed.user_name, claimed.files, reason)
            audit.append(connection, event)
