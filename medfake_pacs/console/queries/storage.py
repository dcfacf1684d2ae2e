"""Disk, database and the log's head, as cheaply as they can be had."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from medfake_pacs import audit
from medfake_pacs.audit.anchor import read_anchors
from medfake_pacs.config import Settings
from medfake_pacs.console.queries.facts import Fact, seconds_of
from medfake_pacs.database.tables import audit_events
from medfake_pacs.errors import AuditError

_SAMPLED_FILES = 1000
_FOLDERS = 256


class Storage(Fact):
    """The filesystem of the spool, and the database."""

    spool_dir: str
    free_bytes: Annotated[int | None, Field(description="room on the spool's filesystem; none if it can't be seen")]
    total_bytes: int | None
    min_free_bytes: Annotated[int, Field(description="with less room than this senders get A700")]
    writable: Annotated[bool, Field(description="whether this process may write into the spool")]
    objects_bytes: Annotated[
        int | None, Field(description="received objects that are kept, estimated from a sample of their folders")
    ]
    database_bytes: Annotated[int | None, Field(description="size of the database, its write-ahead log included")]

    @property
    def has_room(self) -> bool:
        """Tell whether objects are taken."""
        return self.free_bytes is not None and self.free_bytes >= self.min_free_bytes


class LogHead(Fact):
    """The newest row of the log, and the newest anchor outside the database."""

    seq: Annotated[int, Field(description="number of the newest row; 0 while there is none")]
    hash: str
    occurred_at: float | None
    anchor_file: Annotated[str, Field(description="audit.anchor_file; empty if it isn't set")]
    anchored_seq: Annotated[int | None, Field(description="the row that the newest anchor remembers")]
    anchored_at: float | None
    anchor_problem: Annotated[str, Field(description="why the anchors can't be read; empty if they can")]


def storage(connection: sa.Connection, settings: Settings) -> Storage:
    """Return how much room there is and what takes it."""
    free, total = room(settings)
    return Storage(
        spool_dir=str(settings.spool_dir),
        free_bytes=free,
        total_bytes=total,
        min_free_bytes=settings.spool.min_free_bytes,
        writable=is_writable(settings),
        objects_bytes=_objects_bytes(settings.spool_dir / "objects"),
        database_bytes=database_bytes(connection),
    )


def room(settings: Settings) -> tuple[int | None, int | None]:
    """Return the free and the total bytes of the spool's filesystem; None where it can't be seen."""
    try:
        usage = shutil.disk_usage(settings.spool_dir)
    except OSError:
        return None, None
    return usage.free, usage.total


def is_writable(settings: Settings) -> bool:
    """Tell whether this process may make files in the spool."""
    return os.access(settings.spool_dir, os.W_OK | os.X_OK)


def log_head(connection: sa.Connection, settings: Settings) -> LogHead:
    """Return the log's newest row and newest anchor."""
    columns = audit_events.c
    query = sa.select(columns.seq, columns.hash, columns.occurred_at).order_by(columns.seq.desc()).limit(1)
    head = connection.execute(query).one_or_none()
    anchors: tuple[audit.Anchor, ...] = ()
    problem = ""
    if settings.anchor_file:
        try:
            anchors = read_anchors(settings.anchor_file)
        except AuditError as error:
            problem = str(error)
    return LogHead(
        seq=head.seq if head else 0,
        hash=head.hash if head else "",
        occurred_at=seconds_of(head.occurred_at) if head else None,
        anchor_file=settings.audit.anchor_file,
        anchored_seq=anchors[-1].seq if anchors else None,
        anchored_at=seconds_of(anchors[-1].time) if anchors else None,
        anchor_problem=problem,
    )


def database_bytes(connection: sa.Connection) -> int | None:
    """Return the size of the database; None where it can't be told."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(sa.select(sa.func.pg_database_size(sa.func.current_database()))).scalar_one())
    path = connection.engine.url.database or ""
    try:
        return sum(Path(path + suffix).stat().st_size for suffix in ("", "-wal") if Path(path + suffix).exists())
    except OSError:
        return None


def _objects_bytes(objects: Path) -> int | None:
    """Estimate what the objects take: their number from the first folders, their size from a thousand of them.

    They lie in 256 folders by their digests, which are spread evenly: the first stand for the others.
    """
    names, visited = 0, 0
    sizes: list[int] = []
    try:
        for folder in sorted(objects.iterdir()) if objects.is_dir() else ():
            visited += 1
            with os.scandir(folder) as entries:
                for entry in entries:
                    names += 1
                    if len(sizes) < _SAMPLED_FILES:
                        sizes.append(entry.stat().st_size)
            if names >= _SAMPLED_FILES:
                break
    except OSError:
        # The worker deletes files meanwhile; the next look succeeds.
        return None
    if not sizes:
        return 0
    return int(sum(sizes) / len(sizes) * names * (_FOLDERS / visited if names >= _SAMPLED_FILES else 1))
