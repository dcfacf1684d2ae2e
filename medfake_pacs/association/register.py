"""The rows that an association leaves: itself, the instances that it brought, and their events in the log."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.database import transaction
from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.intake import Recorded, record_instance
from medfake_pacs.database.tables import associations
from medfake_pacs.entities import AuditEvent, Peer, SpooledInstance
from medfake_pacs.errors import CannotUnderstandError, OutOfResourcesError

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came over one association; ``not_kept`` counts by (SOP class UID, whether it was our own report)."""

    kept: int
    not_kept: Mapping[tuple[str, bool], int]


class Register:
    """Writes the rows of this receiver's associations."""

    def __init__(self, engine: sa.Engine, node_id: str) -> None:
        self._engine = engine
        self._node_id = node_id

    def close_stale(self) -> int:
        """Close the associations that this receiver left open when it died; return how many."""
        values = {"closed_at": time.time(), "ending": "lost"}
        statement = sa.update(associations).values(values)
        statement = statement.where(associations.c.node_id == self._node_id, associations.c.closed_at.is_(None))
        with transaction(self._engine) as connection:
            return int(connection.execute(statement).rowcount)

    def open(self, peer: Peer, opened_at: float) -> None:
        """Record an association; without a database it is recorded when it closes."""
        try:
            with transaction(self._engine) as connection:
                connection.execute(sa.insert(associations), self._row(peer, opened_at))
        except (sa.exc.SQLAlchemyError, OSError) as error:
            _LOGGER.error("association not recorded", extra=_about(peer, error))

    def close(self, peer: Peer, opened_at: float, ending: str, tally: Tally) -> None:
        """Record an association's end, and log what of it was not kept: one event for each SOP class."""
        closing = {
            "closed_at": time.time(),
            "ending": ending,
            "objects_kept": tally.kept,
            "objects_not_kept": sum(tally.not_kept.values()),
        }
        try:
            with transaction(self._engine) as connection:
                statement = insert_into(connection, associations).values(self._row(peer, opened_at) | closing)
                connection.execute(
                    statement.on_conflict_do_update(index_elements=[associations.c.association_id], set_=closing)
                )
                for (sop_class_uid, own_report), count in sorted(tally.not_kept.items()):
                    payload = {"sop_class_uid": sop_class_uid, "count": count, "own_report": own_report}
                    audit.append(connection, _event("object-not-kept", peer, payload))
        except (sa.exc.SQLAlchemyError, OSError) as error:
            _LOGGER.error("association not closed", extra=_about(peer, error))

    def record(self, spooled: SpooledInstance) -> Recorded:
        """Record a spooled instance and log it, in one transaction.

        Raises
        ------
        OutOfResourcesError
            If the database is full, locked or away; the sender may try again.
        CannotUnderstandError
            If the database can't hold one of the values.
        """
        return record(self._engine, spooled)

    def _row(self, peer: Peer, opened_at: float) -> dict[str, object]:
        return {
            "association_id": peer.association_id,
            "node_id": self._node_id,
            "calling_ae_title": peer.calling_ae_title,
            "called_ae_title": peer.called_ae_title,
            "host": peer.host,
            "opened_at": opened_at,
        }


def record(engine: sa.Engine, spooled: SpooledInstance, *, adopted: bool = False) -> Recorded:
    """Record a spooled instance and log it, in one transaction; see ``Register.record``."""
    try:
        with transaction(engine) as connection:
            recorded = record_instance(connection, spooled)
            if not (adopted and recorded.duplicate):
                audit.append(connection, _instance_event(spooled, recorded, adopted=adopted))
            crashpoints.reach("receiver.in-transaction")
    except sa.exc.DataError as error:
        raise CannotUnderstandError("a value can't be stored") from error
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise OutOfResourcesError("the database can't be written") from error
    crashpoints.reach("receiver.after-commit")
    return recorded


def _instance_event(spooled: SpooledInstance, recorded: Recorded, *, adopted: bool) -> AuditEvent:
    kind = "instance-received"
    if adopted:
        kind = "instance-adopted"
    elif recorded.duplicate:
        kind = "instance-duplicate"
    elif recorded.conflict_of is not None:
        kind = "instance-conflict"
    attributes = spooled.attributes
    payload = {
        "instance_id": recorded.instance_id,
        "sop_class_uid": attributes.sop_class_uid,
        "transfer_syntax_uid": spooled.transfer_syntax_uid,
        "content_sha256": spooled.content_sha256,
        "size_bytes": spooled.size_bytes,
    }
    if recorded.conflict_of is not None:
        payload["conflict_of"] = recorded.conflict_of
    return _event(kind, spooled.peer, payload, instance=spooled)


def _event(kind: str, peer: Peer, payload: Mapping[str, object], instance: SpooledInstance | None = None) -> AuditEvent:
    attributes = instance.attributes if instance else None
    return AuditEvent(
        kind=kind,
        study_instance_uid=attributes.study_instance_uid if attributes else "",
        series_instance_uid=attributes.series_instance_uid if attributes else "",
        sop_instance_uid=attributes.sop_instance_uid if attributes else "",
        patient_id=attributes.patient_id if attributes else "",
        accession_number=attributes.accession_number if attributes else "",
        ae_title=peer.calling_ae_title,
        payload={"peer": asdict(peer), **payload},
    )


def _about(peer: Peer, error: Exception) -> dict[str, str]:
    return {"association_id": peer.association_id, "reason": type(error).__name__}
