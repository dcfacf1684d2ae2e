"""Append to the log: one immutable row per fact, each bound to the one before it by SHA-256.

``hash`` = SHA-256 of ``previous_hash``, a newline and ``payload``, all UTF-8; the first row's
``previous_hash`` is 64 zeros. ``payload`` is the canonical JSON (RFC 8785) of the whole event: ``seq``,
``occurred_at``, ``kind``, the columns that auditors filter by, and the event's own ``payload``.
"""

import hashlib
import re
import time
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from medfake_pacs.audit.canonical import canonical_json, storable
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent
from medfake_pacs.errors import AuditError

GENESIS_HASH = "0" * 64
EVENT_COLUMNS = (
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "patient_id",
    "accession_number",
    "ae_title",
    "verdict",
    "model_sha256",
)
FILTER_COLUMNS = ("seq", "occurred_at", "kind", *EVENT_COLUMNS)
_KIND = re.compile(r"[a-z]+(-[a-z]+)*")
_KIND_LENGTH = 32
# Four times what the standard allows in any of these attributes; PostgreSQL can't index what is much longer.
_COLUMN_LENGTH = 256
_POSTGRESQL_LOCK = 7_219_332
_HEAD = sa.select(audit_events.c.seq, audit_events.c.hash).order_by(audit_events.c.seq.desc()).limit(1)
_INSERT = sa.insert(audit_events)
_LOCK = sa.select(sa.func.pg_advisory_xact_lock(_POSTGRESQL_LOCK))


def append(connection: sa.Connection, event: AuditEvent, *, occurred_at: float | None = None) -> int:
    """Add ``event`` at the end of the chain in the caller's transaction, and return its sequence number.

    Writers queue up until the one before has committed: call it last in a transaction, so that nobody
    waits for your other work, and so that two writers never lock the log and a row crosswise.

    Parameters
    ----------
    connection
        From ``database.transaction``.
    event
        The fact.
    occurred_at
        Seconds since the epoch; now, unless given.

    Raises
    ------
    AuditError
        If there is no transaction, or the event can't be written as canonical JSON.
    """
    if len(event.kind) > _KIND_LENGTH or not _KIND.fullmatch(event.kind):
        raise AuditError(f"{event.kind!r} is no kind of event: words in lower case, joined by hyphens")
    take_turn(connection)
    head = connection.execute(_HEAD).first()
    seq, previous_hash = (head.seq + 1, head.hash) if head else (1, GENESIS_HASH)
    row: dict[str, Any] = {"seq": seq, "occurred_at": timestamp(occurred_at), "kind": event.kind}
    row.update((name, _shortened(storable(getattr(event, name)))) for name in EVENT_COLUMNS)
    row["payload"] = canonical_json(row | {"payload": event.payload})
    row["previous_hash"] = previous_hash
    row["hash"] = chain_hash(previous_hash.encode(), row["payload"].encode())
    connection.execute(_INSERT, row)
    return seq


def chain_hash(previous_hash: bytes, payload: bytes) -> str:
    """Return the hash of a row as 64 hexadecimal digits."""
    return hashlib.sha256(previous_hash + b"\n" + payload).hexdigest()


def timestamp(seconds: float | None = None) -> str:
    """Return a time (seconds since the epoch; now, unless given) as RFC 3339 text, UTC, microseconds."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shortened(text: str) -> str:
    return text if len(text) <= _COLUMN_LENGTH else text[: _COLUMN_LENGTH - 1] + "…"


def take_turn(connection: sa.Connection) -> None:
    """Wait until no other transaction is appending; on SQLite the caller's BEGIN IMMEDIATE has done so.

    ``append`` does it; call it earlier in a transaction that changes rows between two appends.

    Raises
    ------
    AuditError
        If there is no transaction.
    """
    if connection.dialect.name == "postgresql":
        if not connection.in_transaction():
            raise AuditError("the log is written inside database.transaction only")
        connection.execute(_LOCK)
        return
    driver_connection = connection.connection.dbapi_connection
    if driver_connection is None or not driver_connection.in_transaction:
        raise AuditError("the log is written inside database.transaction only")
