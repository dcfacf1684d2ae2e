"""The anchor: a file outside the database that remembers heads of the log, one JSON object a line.

Who cuts the end off the log, or recomputes the chain, can't make it agree with an anchor that is out of
reach. Keep the file on another machine or on a medium that only takes additions.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.audit.canonical import canonical_json
from medfake_pacs.audit.chain import timestamp
from medfake_pacs.database.tables import audit_events
from medfake_pacs.errors import AuditError

_HASH_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One head of the log as it was at ``time`` (RFC 3339, UTC)."""

    time: str
    seq: int
    hash: str


def write_anchor(connection: sa.Connection, path: Path) -> Anchor | None:
    """Append the log's head to the file ``path``, durably; return it, or None if it is there already.

    Raises
    ------
    AuditError
        If the log no longer holds the row that was anchored last, or the file can't be written.
    """
    anchors = read_anchors(path)
    if anchors:
        _check_last(connection, anchors[-1])
    query = sa.select(audit_events.c.seq, audit_events.c.hash).order_by(audit_events.c.seq.desc()).limit(1)
    head = connection.execute(query).first()
    if head is None or (anchors and anchors[-1].seq == head.seq):
        return None
    anchor = Anchor(time=timestamp(), seq=head.seq, hash=head.hash)
    line = canonical_json({"time": anchor.time, "seq": anchor.seq, "hash": anchor.hash}) + "\n"
    try:
        _append_durably(path, line.encode())
    except OSError as error:
        raise AuditError(f"the anchor file {path} can't be written: {error.strerror}") from error
    return anchor


def read_anchors(path: Path) -> tuple[Anchor, ...]:
    """Return the anchors in the file ``path``, none if it doesn't exist; an unfinished last line is no anchor.

    Raises
    ------
    AuditError
        If the file can't be read or a line of it isn't an anchor.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AuditError(f"the anchor file {path} can't be read: {error.strerror}") from error
    lines = content.split(b"\n")[:-1]
    return tuple(_parse(line, f"line {number} of the anchor file") for number, line in enumerate(lines, 1))


def _parse(line: bytes, where: str) -> Anchor:
    try:
        document = json.loads(line)
        anchor = Anchor(time=document["time"], seq=document["seq"], hash=document["hash"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise AuditError(f"{where} isn't an anchor") from None
    if not isinstance(anchor.seq, int) or anchor.seq < 1 or len(str(anchor.hash)) != _HASH_LENGTH:
        raise AuditError(f"{where} isn't an anchor")
    return anchor


def _check_last(connection: sa.Connection, last: Anchor) -> None:
    query = sa.select(audit_events.c.hash).where(audit_events.c.seq == last.seq)
    if connection.execute(query).scalar_one_or_none() != last.hash:
        raise AuditError(f"the log no longer holds row {last.seq} as it was anchored at {last.time}; run audit verify")


def _append_durably(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o640), "r+b") as file:
        content = file.read()
        file.seek(content.rfind(b"\n") + 1)
        file.truncate()
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
