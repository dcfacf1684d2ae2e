"""What speaks for itself, without a model: objects that contradict each other, images declared synthetic."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances

MAX_CONFLICTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictingObject:
    """One of several objects with the same SOP Instance UID; ``here`` tells whether it is in the study shown."""

    instance_id: int
    study_instance_uid: str
    series_instance_uid: str
    here: bool
    content_sha256: str
    pixel_sha256: str
    received_at: float
    calling_ae_title: str
    host: str
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A SOP Instance UID under which different objects came, in the order in which they came."""

    sop_instance_uid: str
    objects: tuple[ConflictingObject, ...]

    @property
    def pixels(self) -> str:
        """Say how the pixels of the objects compare."""
        digests = {each.pixel_sha256 for each in self.objects}
        if "" in digests:
            return "their pixels can't be compared"
        return "their pixels differ" if len(digests) > 1 else "their pixels are the same, header or encoding differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """At most ``MAX_CONFLICTS`` conflicts of ``conflicts_total``, and how many images are declared synthetic."""

    conflicts: tuple[Conflict, ...]
    conflicts_total: int
    declared_synthetic: int


def evidence_of(services: Services, study_instance_uid: str) -> Evidence:
    """Return the evidence in a study that needs no model."""
    mine = instances.c.study_instance_uid == study_instance_uid
    other = instances.alias("other")
    namesake = sa.select(other.c.instance_id).where(
        other.c.sop_instance_uid == instances.c.sop_instance_uid, other.c.instance_id != instances.c.instance_id
    )
    uids = sa.select(instances.c.sop_instance_uid).where(mine, namesake.exists()).distinct()
    synthetic = sa.select(sa.func.count()).where(mine, sa.func.upper(sa.func.trim(instances.c.synthetic_data)) == "YES")
    with reading(services.engine) as connection:
        found = sorted(connection.execute(uids).scalars())
        declared = int(connection.execute(synthetic).scalar_one())
        query = sa.select(instances).where(instances.c.sop_instance_uid.in_(found[:MAX_CONFLICTS]))
        rows = connection.execute(query.order_by(instances.c.instance_id)).all()
    conflicts = tuple(
        Conflict(sop_instance_uid=uid, objects=_objects(services, rows, uid, study_instance_uid))
        for uid in found[:MAX_CONFLICTS]
    )
    return Evidence(conflicts=conflicts, conflicts_total=len(found), declared_synthetic=declared)


def _objects(
    services: Services, rows: Sequence[sa.Row[tuple[object, ...]]], sop_instance_uid: str, study_instance_uid: str
) -> tuple[ConflictingObject, ...]:
    return tuple(
        ConflictingObject(
            instance_id=row.instance_id,
            study_instance_uid=row.study_instance_uid,
            series_instance_uid=row.series_instance_uid,
            here=row.study_instance_uid == study_instance_uid,
            content_sha256=row.content_sha256,
            pixel_sha256=row.pixel_sha256 or "",
            received_at=row.received_at,
            calling_ae_title=row.calling_ae_title,
            host=row.host,
            is_kept=(services.settings.spool_dir / row.path).is_file(),
        )
        for row in rows
        if row.sop_instance_uid == sop_instance_uid
    )
