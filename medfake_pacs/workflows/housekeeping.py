"""Heartbeats, and what is deleted when: rows stay, files go."""

import logging

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
    """Mark a study as expired, unless an image has come meanwhile, and delete its files."""
    with transaction(context.engine) as connection:
        mine = studies.c.study_instance_uid == study_instance_uid
        marked = sa.update(studies).where(mine, studies.c.opened_at.is_(None)).values(expired_at=now)
        if connection.execute(marked).rowcount != 1:
            return 0
        query = sa.select(instances.c.path).where(instances.c.study_instance_uid == study_instance_uid)
        paths = [context.settings.spool_dir / name for name in connection.execute(query).scalars()]
    deleted = 0
    for path in paths:
        if path.is_file():
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted
