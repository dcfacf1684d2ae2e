"""Prove that the log is whole: recompute the chain and compare it with the anchor outside the database."""

import json
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from medfake_pacs.audit.anchor import Anchor, read_anchors
from medfake_pacs.audit.chain import FILTER_COLUMNS, GENESIS_HASH, chain_hash
from medfake_pacs.audit.protection import missing_protection
from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events
from medfake_pacs.errors import AuditError

_ROWS_PER_FETCH = 1000
_COLUMNS = (*FILTER_COLUMNS, "payload", "previous_hash", "hash")
_SQLITE_TYPES = "integer" + "text" * (len(_COLUMNS) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What checking the log came to; ``rows`` were found whole, ``head`` is the hash of the last of them.

    ``warnings`` name what protects the log no longer, although no row shows a change.
    """

    ok: bool
    rows: int
    head: str
    first_broken_seq: int | None = None
    reason: str = ""
    anchors: int = 0
    warnings: tuple[str, ...] = ()


Watch = Callable[[int], None]


class _BrokenError(AuditError):
    """The chain breaks at the row ``seq``."""

    def __init__(self, seq: int, reason: str) -> None:
        self.seq = seq
        super().__init__(reason)


def verify(connection: sa.Connection, anchor_file: Path | None = None, watch: Watch | None = None) -> Verification:
    """Check every row of the log from the first on, and every anchor; memory stays flat.

    Use a connection that has read nothing yet (``database.reading``): an anchor newer than what the
    connection sees would look like a lost row.

    ``watch`` is told now and then how many rows were found whole; what it raises ends the check.

    Returns
    -------
    Verification
        ``first_broken_seq`` names the first row that is missing, added or changed.
    """
    progress = _Progress(watch)
    try:
        anchors = read_anchors(anchor_file) if anchor_file else ()
        _check_rows(connection, progress, anchors)
        _check_indices(connection)
        progress.warnings = missing_protection(connection)
        _check_tail(progress, anchors)
    except _BrokenError as broken:
        return progress.result(ok=False, first_broken_seq=broken.seq, reason=str(broken))
    except AuditError as error:
        return progress.result(ok=False, reason=str(error))
    except sa.exc.DatabaseError as error:
        reason = f"the database can't read the log any further: {error.orig}"
        return progress.result(ok=False, first_broken_seq=progress.rows + 1, reason=reason)
    return progress.result(ok=True)


def verify_database(engine: sa.Engine, anchor_file: Path | None, watch: Watch | None = None) -> Verification:
    """Check the log as ``verify`` does, on a connection of its own."""
    result = None
    try:
        with reading(engine) as connection:
            result = verify(connection, anchor_file, watch)
    except sa.exc.DatabaseError:
        # A damaged file can fail once more when the transaction ends.
        if result is None:
            raise
    return result


class _Progress:
    """How far the check has come."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch
        self.rows = 0
        self.head = GENESIS_HASH
        self.anchors = 0
        self.warnings: tuple[str, ...] = ()

    def count(self, rows: int, head: str) -> None:
        """Note that the chain is whole up to a row."""
        self.rows, self.head = rows, head
        if self._watch is not None and rows % _ROWS_PER_FETCH == 0:
            self._watch(rows)

    def result(self, *, ok: bool, first_broken_seq: int | None = None, reason: str = "") -> Verification:
        return Verification(
            ok=ok,
            rows=self.rows,
            head=self.head,
            first_broken_seq=first_broken_seq,
            reason=reason,
            anchors=self.anchors,
            warnings=self.warnings,
        )


def _check_rows(connection: sa.Connection, progress: _Progress, anchors: tuple[Anchor, ...]) -> None:
    expected: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        expected.setdefault(anchor.seq, []).append(anchor)
    with closing(_rows(connection)) as rows:
        for row in rows:
            _check_row(row, progress)
            progress.count(row["seq"], row["hash"].decode())
            for anchor in expected.get(progress.rows, ()):
                _check_anchor(anchor, progress)


def _check_anchor(anchor: Anchor, progress: _Progress) -> None:
    if anchor.hash != progress.head:
        reason = f"row {anchor.seq} isn't the one that was anchored at {anchor.time}: rewritten here or earlier"
        raise _BrokenError(anchor.seq, reason)
    progress.anchors += 1


def _check_tail(progress: _Progress, anchors: tuple[Anchor, ...]) -> None:
    for anchor in anchors:
        if anchor.seq > progress.rows:
            reason = f"the log ends at row {progress.rows}, but row {anchor.seq} was anchored at {anchor.time}"
            raise _BrokenError(progress.rows + 1, reason)


def _check_indices(connection: sa.Connection) -> None:
    """Check that SQLite's indices agree with the rows: a query finds what an index lists."""
    if connection.dialect.name != "sqlite":
        return
    try:
        problem = connection.exec_driver_sql(f"PRAGMA integrity_check('{audit_events.name}')").scalars().first()
    except sa.exc.DatabaseError as error:
        problem = str(error.orig)
    if problem != "ok":
        raise AuditError(f"the database file is damaged: {problem}")


def _rows(connection: sa.Connection) -> Generator[dict[str, Any], None, None]:
    """Yield the rows in order of ``seq``, text as the bytes that are stored."""
    columns = [audit_events.c[name] for name in _COLUMNS]
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        types = sa.literal_column(" || ".join(f"typeof({column.name})" for column in columns)).label("types")
        columns = [columns[0], *(sa.cast(column, sa.LargeBinary).label(column.name) for column in columns[1:]), types]
    query = sa.select(*columns).order_by(audit_events.c.seq)
    with connection.execute(query, execution_options={"yield_per": _ROWS_PER_FETCH}) as result:
        for values in result:
            if not sqlite:
                values = (values[0], *(text.encode() for text in values[1:]))
            elif values[-1] != _SQLITE_TYPES:
                raise _BrokenError(values[0], f"row {values[0]} holds a value of another type than was written")
            yield dict(zip(_COLUMNS, values, strict=False))


def _check_row(row: dict[str, Any], progress: _Progress) -> None:
    seq, due = row["seq"], progress.rows + 1
    if seq > due:
        raise _BrokenError(due, f"row {due} is missing: row {progress.rows} is followed by row {seq}")
    if seq < due:
        raise _BrokenError(seq, f"row {seq} was added before the first row")
    if row["previous_hash"] != progress.head.encode():
        raise _BrokenError(seq, f"previous_hash of row {seq} isn't the hash of row {seq - 1}")
    if row["hash"] != chain_hash(row["previous_hash"], row["payload"]).encode():
        raise _BrokenError(seq, f"the hash of row {seq} doesn't match its payload and previous_hash")
    try:
        event = json.loads(row["payload"])
    except (ValueError, RecursionError):
        raise _BrokenError(seq, f"the payload of row {seq} isn't JSON") from None
    for name in FILTER_COLUMNS:
        value = row[name] if name == "seq" else row[name].decode(errors="replace")
        if not isinstance(event, dict) or event.get(name) != value:
            raise _BrokenError(seq, f"{name} of row {seq} isn't what its payload says")
