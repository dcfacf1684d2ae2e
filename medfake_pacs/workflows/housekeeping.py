"""Heartbeats, and what is deleted when: rows stay, files go."""

import logging
from collections.abc import Iterable
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.database import heartbeat, reading, transaction
from medfake_pacs.database.heartbeat import STALE_HEARTBEAT_S, database_time
from medfake_pacs.database.tables import deliveries, instances, nodes, revisions, studies
from medfake_pacs.workflows.context import Context

_DAY_S = 86_400.0
_STUDIES_AT_A_TIME = 200
_log = logging.getLogger(__name__)


def beat(context: Context, node_id: str, role: str) -> None:
    """Record that the process ``node_id`` is alive."""
    heartbeat.beat(context.engine, node_id, role, started_at=context.started_at)


def take_dead_workers(context: Context) -> list[str]:
    """Delete the heartbeats of the workers that don't beat any more, and return their ids: to one caller only."""
    with reading(context.engine) as connection:
        stale = sa.and_(nodes.c.role == "worker", nodes.c.heartbeat_at < database_time(connection) - STALE_HEARTBEAT_S)
        if connection.execute(sa.select(nodes.c.node_id).where(stale).limit(1)).first() is None:
            return []
    with transaction(context.engine) as connection:
        return list(connection.execute(sa.delete(nodes).where(stale).returning(nodes.c.node_id)).scalars())


def expire(context: Context, now: float) -> int:
    """Delete the spooled files whose retention is over and whose reports are settled; return how many.

    A study keeps its files while a revision is open or a report waits. Its rows always stay.
    """
    limit = now - context.settings.spool.retention_days * _DAY_S
    deleted, after = 0, ""
    while found := _expired_studies(context, limit, after):
        for study_instance_uid in found:
            deleted += _delete_files(context, study_instance_uid, now)
        after = found[-1]
    if deleted:
        _log.info("retention", extra={"files": deleted})
    return deleted


def _expired_studies(context: Context, limit: float, after: str) -> list[str]:
    study = studies.c.study_instance_uid
    unfinished = sa.select(revisions.c.revision).where(
        revisions.c.study_instance_uid == study, revisions.c.state == "completed"
    )
    waiting = sa.select(deliveries.c.delivery_id).where(
        deliveries.c.study_instance_uid == study, deliveries.c.state == "waiting"
    )
    query = sa.select(study).where(
        studies.c.expired_at.is_(None),
        studies.c.last_received_at < limit,
        studies.c.opened_at.is_(None),
        ~unfinished.exists(),
        ~waiting.exists(),
        study > after,
    )
    with reading(context.engine) as connection:
        return list(connection.execute(query.order_by(study).limit(_STUDIES_AT_A_TIME)).scalars())


def _delete_files(context: Context, study_instance_uid: str, now: float) -> int:
    """Delete a study's files and mark it as expired, unless an image has come meanwhile.

    The files go first: whatever breaks this off, the study is still to be expired, and is the next time.
    """
    closed = (
        studies.c.study_instance_uid == study_instance_uid,
        studies.c.opened_at.is_(None),
        studies.c.expired_at.is_(None),
    )
    with reading(context.engine) as connection:
        if connection.execute(sa.select(studies.c.study_instance_uid).where(*closed)).first() is None:
            return 0
        query = sa.select(instances.c.path).where(instances.c.study_instance_uid == study_instance_uid)
        paths = [context.settings.spool_dir / name for name in connection.execute(query).scalars()]
    try:
        deleted = _unlink(paths)
        with transaction(context.engine) as connection:
            if connection.execute(sa.update(studies).where(*closed).values(expired_at=now)).rowcount != 1:
                return deleted
        # An image that came again before the mark was taken to be kept already.
        return deleted + _unlink(paths)
    except OSError as error:
        facts = {"study_instance_uid": study_instance_uid, "error": type(error).__name__, "errno": error.errno}
        _log.error("files of a study can't be deleted; it is tried again", extra=facts)
        return 0


def _unlink(paths: Iterable[Path]) -> int:
    """Delete what there is of ``paths``, and only then say what couldn't be."""
    deleted, failure = 0, None
    for path in paths:
        try:
            if path.is_file():
                path.unlink(missing_ok=True)
                deleted += 1
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure
    return deleted
