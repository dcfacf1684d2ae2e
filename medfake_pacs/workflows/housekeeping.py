"""Heartbeats, and what is deleted when: rows stay, files go."""

import logging
import os
import time

import sqlalchemy as sa

from medfake_pacs.database import reading, transaction
from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.tables import deliveries, instances, nodes, revisions
from medfake_pacs.workflows.completion import STALE_HEARTBEAT_S
from medfake_pacs.workflows.context import Context

_DAY_S = 86_400.0
_log = logging.getLogger(__name__)


def beat(context: Context, node_id: str, role: str) -> None:
    """Record that the process ``node_id`` is alive."""
    now = time.time()
    with transaction(context.engine) as connection:
        statement = insert_into(connection, nodes).values(
            node_id=node_id, role=role, process_id=os.getpid(), started_at=now, heartbeat_at=now
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[nodes.c.node_id], set_={"heartbeat_at": now, "process_id": os.getpid()}
            )
        )


def dead_workers(context: Context, now: float) -> list[str]:
    """Return the ids of the workers whose heartbeat is stale."""
    query = sa.select(nodes.c.node_id).where(nodes.c.role == "worker", nodes.c.heartbeat_at < now - STALE_HEARTBEAT_S)
    with reading(context.engine) as connection:
        return list(connection.execute(query).scalars())


def forget_node(context: Context, node_id: str) -> None:
    """Delete the heartbeat of a process that is gone."""
    with transaction(context.engine) as connection:
        connection.execute(sa.delete(nodes).where(nodes.c.node_id == node_id))


def expire(context: Context, now: float) -> int:
    """Delete the spooled files whose retention is over and whose reports are settled; return how many.

    A study keeps its files while a revision is open or a report waits. Its rows always stay.
    """
    limit = now - context.settings.spool.retention_days * _DAY_S
    study = instances.c.study_instance_uid
    unfinished = sa.select(revisions.c.revision).where(
        revisions.c.study_instance_uid == study, revisions.c.state == "completed"
    )
    waiting = sa.select(deliveries.c.delivery_id).where(
        deliveries.c.study_instance_uid == study, deliveries.c.state == "waiting"
    )
    young = instances.alias("young")
    recent = sa.select(young.c.instance_id).where(young.c.study_instance_uid == study, young.c.received_at >= limit)
    query = sa.select(instances.c.path).where(
        instances.c.received_at < limit,
        instances.c.revision.is_not(None),
        ~unfinished.exists(),
        ~waiting.exists(),
        ~recent.exists(),
    )
    with reading(context.engine) as connection:
        paths = sorted(set(connection.execute(query).scalars()))
    deleted = 0
    for name in paths:
        path = context.settings.spool_dir / name
        if path.is_file():
            path.unlink(missing_ok=True)
            deleted += 1
    if deleted:
        _log.info("retention", extra={"files": deleted})
    return deleted
