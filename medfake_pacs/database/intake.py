"""Record a spooled instance: the row that makes it work, and what it says of duplicates."""

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.tables import instances, studies
from medfake_pacs.entities import SpooledInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of an instance: its row, whether that was there before, and which row it contradicts."""

    instance_id: int
    duplicate: bool
    conflict_of: int | None


def record_instance(connection: sa.Connection, spooled: SpooledInstance) -> Recorded:
    """Insert the instance and reopen its study, or find that the same content is there already.

    An object with a known SOP Instance UID and other content gets a row of its own, which points to the
    first one. Call it inside ``database.transaction``; on PostgreSQL two receivers that store the same
    object at once are kept apart by the unique constraint.
    """
    attributes = spooled.attributes
    known = _rows_of(connection, attributes.sop_instance_uid)
    same = [row.instance_id for row in known if row.content_sha256 == spooled.content_sha256]
    if same:
        return Recorded(instance_id=same[0], duplicate=True, conflict_of=None)
    conflict_of = known[0].instance_id if known else None
    row = _columns(spooled) | {"conflict_of": conflict_of}
    instance_id = _insert_once(connection, row)
    if instance_id is None:
        return record_instance(connection, spooled)
    _reopen_study(connection, attributes.study_instance_uid, spooled.received_at)
    return Recorded(instance_id=instance_id, duplicate=False, conflict_of=conflict_of)


def _rows_of(connection: sa.Connection, sop_instance_uid: str) -> list[sa.Row[tuple[int, str]]]:
    query = sa.select(instances.c.instance_id, instances.c.content_sha256).order_by(instances.c.instance_id)
    return list(connection.execute(query.where(instances.c.sop_instance_uid == sop_instance_uid)))


def _columns(spooled: SpooledInstance) -> dict[str, object]:
    return asdict(spooled.attributes) | {
        "transfer_syntax_uid": spooled.transfer_syntax_uid,
        "content_sha256": spooled.content_sha256,
        "size_bytes": spooled.size_bytes,
        "path": str(spooled.path),
        "association_id": spooled.peer.association_id,
        "calling_ae_title": spooled.peer.calling_ae_title,
        "called_ae_title": spooled.peer.called_ae_title,
        "host": spooled.peer.host,
        "received_at": spooled.received_at,
    }


def _insert_once(connection: sa.Connection, row: dict[str, object]) -> int | None:
    statement = (
        insert_into(connection, instances).values(row).on_conflict_do_nothing().returning(instances.c.instance_id)
    )
    return connection.execute(statement).scalar_one_or_none()


def _reopen_study(connection: sa.Connection, study_instance_uid: str, received_at: float) -> None:
    statement = insert_into(connection, studies).values(
        study_instance_uid=study_instance_uid, opened_at=received_at, last_received_at=received_at
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[studies.c.study_instance_uid],
            set_={
                "opened_at": sa.func.coalesce(studies.c.opened_at, statement.excluded.opened_at),
                "last_received_at": statement.excluded.last_received_at,
                "expired_at": None,
            },
        )
    )
