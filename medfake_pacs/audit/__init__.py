"""The log that can be proved: append-only rows in a SHA-256 chain, its check, its anchor and its queries."""

from medfake_pacs.audit.anchor import Anchor, read_anchors, write_anchor
from medfake_pacs.audit.canonical import storable
from medfake_pacs.audit.chain import append, take_turn, timestamp
from medfake_pacs.audit.paging import AuditPage, page
from medfake_pacs.audit.query import query
from medfake_pacs.audit.rows import AuditFilter, AuditRow
from medfake_pacs.audit.verify import Verification, verify

__all__ = [
    "Anchor",
    "AuditFilter",
    "AuditPage",
    "AuditRow",
    "Verification",
    "append",
    "page",
    "query",
    "read_anchors",
    "storable",
    "take_turn",
    "timestamp",
    "verify",
    "write_anchor",
]
