"""The rows that an association leaves: itself, the instances that it brought, and their events in the log."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.database import transaction
from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.intake import Recorded, record_instance
from medfake_pacs.database.tables import associations
from medfake_pacs.entities import AuditEvent, Peer, SpooledInstance
from medfake_pacs.errors import AuditError, CannotUnderstandError, OutOfResourcesError, ReceptionError

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
        self._group = GroupCommit(engine)

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
        """Record a spooled instance and log it, in one transaction with those that others bring meanwhile.

        Raises
        ------
        OutOfResourcesError
            If the database is full, locked or away; the sender may try again.
        CannotUnderstandError
            If the database can't hold one of the values.
        """
        return self._group.record(spooled)

    def _row(self, peer: Peer, opened_at: float) -> dict[str, object]:
        return {
            "association_id": peer.association_id,
            "node_id": self._node_id,
            "calling_ae_title": peer.calling_ae_title,
            "called_ae_title": peer.called_ae_title,
            "host": peer.host,
            "opened_at": opened_at,
        }


class _Entry:
    """An instance that waits to be recorded, and then what became of it."""

    def __init__(self, spooled: SpooledInstance) -> None:
        self.spooled = spooled
        self.outcome: Recorded | ReceptionError | None = None


class GroupCommit:
    """Records in one transaction what several associations bring while the one before is being committed.

    A commit waits for the disk; who comes meanwhile needn't wait for a turn each. Thread-safe.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Entry] = []

    def record(self, spooled: SpooledInstance) -> Recorded:
        """Record an instance; see ``Register.record``."""
        entry = _Entry(spooled)
        with self._lock:
            self._waiting.append(entry)
        with self._turn:
            # Whoever had the turn before may have taken this one along.
            if entry.outcome is None:
                with self._lock:
                    batch, self._waiting = self._waiting, []
                self._write(batch)
        if isinstance(entry.outcome, Recorded):
            return entry.outcome
        raise entry.outcome or OutOfResourcesError("the instance was not recorded")

    def _write(self, batch: list[_Entry]) -> None:
        # One order for all, so that two receivers' transactions don't wait for each other crosswise.
        batch.sort(key=lambda entry: (entry.spooled.attributes.study_instance_uid, entry.spooled.content_sha256))
        try:
            outcomes: Sequence[Recorded] = record(self._engine, [entry.spooled for entry in batch])
        except ReceptionError as error:
            if len(batch) == 1:
                batch[0].outcome = error
                return
            # One of them spoils the transaction: each gets its own.
            for entry in batch:
                self._write([entry])
            return
        for entry, outcome in zip(batch, outcomes, strict=True):
            entry.outcome = outcome


def record(engine: sa.Engine, batch: Sequence[SpooledInstance], *, adopted: bool = False) -> list[Recorded]:
    """Record spooled instances and log them, in one transaction; raises as ``Register.record`` does."""
    try:
        with transaction(engine) as connection:
            outcomes = [record_instance(connection, spooled) for spooled in batch]
            # Last, because the log lets one transaction at a time write.
            for spooled, outcome in zip(batch, outcomes, strict=True):
                if not (adopted and outcome.duplicate):
                    audit.append(connection, _instance_event(spooled, outcome, adopted=adopted))
            crashpoints.reach("receiver.in-transaction")
    except (sa.exc.DataError, ArithmeticError, TypeError, ValueError) as error:
        raise CannotUnderstandError("a value can't be stored") from error
    except (sa.exc.SQLAlchemyError, AuditError, OSError) as error:
        raise OutOfResourcesError("the database can't be written") from error
    crashpoints.reach("receiver.after-commit")
    return outcomes


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
