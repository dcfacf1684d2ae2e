"""Export what a search of the log finds, as ``audit query`` writes it, streamed."""

import time
from collections.abc import Iterator
from contextlib import closing

from medfake_pacs.audit.export import pieces
from medfake_pacs.audit.paging import batches
from medfake_pacs.audit.rows import AuditFilter
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.identity import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.entities import AuditEvent

EXPORTED = "log-exported"
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def begin_export(services: Services, identity: Identity, conditions: AuditFilter, form: str) -> Iterator[bytes]:
    """Put the export into the log, then return its bytes: the oldest row first, up to that of the export itself."""
    facts = {"filters": conditions.as_facts(), "format": form}
    last_seq = record(services, DicomEvent.LOG_USED, identity, AuditEvent(kind=EXPORTED, payload=facts))
    return _bytes(services, conditions, form, last_seq)


def file_name(form: str) -> str:
    """Return what an export of today is called."""
    return time.strftime(f"medfake-log-%Y-%m-%d.{form}", time.gmtime())


def _bytes(services: Services, conditions: AuditFilter, form: str, last_seq: int) -> Iterator[bytes]:
    with closing(batches(services.engine, conditions, last_seq)) as found:
        for piece in pieces(found, form):
            yield piece.encode()
