"""Record a spooled instance: the row that makes it work, and what it says of duplicates."""

from dataclasses import asdict, dataclass
from functools import lru_cache

import sqlalchemy as sa

from medfake_pacs.database.engine import Insert, insert_for
from medfake_pacs.database.tables import instances, studies
from medfake_pacs.entities import SpooledInstance

_PARTS_IN_SPOOL = 3
# What the worklist shows of a study that has no verdict yet.
_OF_THE_FIRST_IMAGE = ("patient_id", "accession_number", "modality", "study_description", "calling_ae_title")
# Twice what the standard allows in any of these but the description; PostgreSQL can't index what is much longer.
SHOWN_CHARACTERS = 128


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
        # Its file may have been deleted and is there again: let retention find it another time.
        connection.execute(_KEPT_AGAIN, {"uid": attributes.study_instance_uid, "at": spooled.received_at})
        return Recorded(instance_id=same[0], duplicate=True, conflict_of=None)
    conflict_of = known[0].instance_id if known else None
    row = _columns(spooled) | {"conflict_of": conflict_of}
    instance_id = _insert_once(connection, row)
    if instance_id is None:
        return record_instance(connection, spooled)
    _reopen_study(connection, row)
    return Recorded(instance_id=instance_id, duplicate=False, conflict_of=conflict_of)


def _rows_of(connection: sa.Connection, sop_instance_uid: str) -> list[sa.Row[tuple[int, str]]]:
    return list(connection.execute(_KNOWN, {"uid": sop_instance_uid}))


def _columns(spooled: SpooledInstance) -> dict[str, object]:
    return asdict(spooled.attributes) | {
        "transfer_syntax_uid": spooled.transfer_syntax_uid,
        "content_sha256": spooled.content_sha256,
        "size_bytes": spooled.size_bytes,
        # From the spool's folder on, so that the folder may be moved or mounted elsewhere.
        "path": "/".join(spooled.path.parts[-_PARTS_IN_SPOOL:]),
        "association_id": spooled.peer.association_id,
        "calling_ae_title": spooled.peer.calling_ae_title,
        "called_ae_title": spooled.peer.called_ae_title,
        "host": spooled.peer.host,
        "received_at": spooled.received_at,
    }


def _insert_once(connection: sa.Connection, row: dict[str, object]) -> int | None:
    return connection.execute(_insertion(connection.dialect.name, tuple(row)), row).scalar_one_or_none()


def _reopen_study(connection: sa.Connection, row: dict[str, object]) -> None:
    values: dict[str, object] = {name: str(row[name])[:SHOWN_CHARACTERS] for name in _OF_THE_FIRST_IMAGE}
    values |= {"uid": row["study_instance_uid"], "at": row["received_at"]}
    connection.execute(_reopening(connection.dialect.name), values)


# Building these takes longer than running them, and the receiver waits for it with each object.
_KNOWN = (
    sa.select(instances.c.instance_id, instances.c.content_sha256)
    .where(instances.c.sop_instance_uid == sa.bindparam("uid"))
    .order_by(instances.c.instance_id)
)


_KEPT_AGAIN = (
    sa.update(studies)
    .where(studies.c.study_instance_uid == sa.bindparam("uid"), studies.c.expired_at.is_not(None))
    .values(expired_at=None, last_received_at=sa.bindparam("at"))
)


@lru_cache(maxsize=4)
def _insertion(dialect: str, columns: tuple[str, ...]) -> Insert:
    values = {name: sa.bindparam(name) for name in columns}
    statement = insert_for(dialect, instances).values(values).on_conflict_do_nothing()
    return statement.returning(instances.c.instance_id)


@lru_cache(maxsize=4)
def _reopening(dialect: str) -> Insert:
    at = sa.bindparam("at")
    statement = insert_for(dialect, studies).values(
        study_instance_uid=sa.bindparam("uid"),
        opened_at=at,
        last_received_at=at,
        first_received_at=at,
        **{name: sa.bindparam(name) for name in _OF_THE_FIRST_IMAGE},
    )
    # Nothing that only the worklist shows is set again: later images would pay for its indexes.
    return statement.on_conflict_do_update(
        index_elements=[studies.c.study_instance_uid],
        set_={
            "opened_at": sa.func.coalesce(studies.c.opened_at, statement.excluded.opened_at),
            "last_received_at": statement.excluded.last_received_at,
            "expired_at": None,
        },
    )
