"""Ask the log: the filters that auditors use, in order of the sequence number, streamed."""

from collections.abc import Generator

import sqlalchemy as sa

from medfake_pacs.audit.plan import make_plan
from medfake_pacs.audit.rows import AuditFilter, AuditRow, moment
from medfake_pacs.database.tables import audit_events

__all__ = ["AuditFilter", "AuditRow", "moment", "query"]

_ROWS_PER_FETCH = 1000


def query(connection: sa.Connection, conditions: AuditFilter | None = None) -> Generator[AuditRow, None, None]:
    """Yield the rows that meet every condition, in the order in which they were written; memory stays flat."""
    wanted = conditions or AuditFilter()
    statement = sa.select(audit_events).where(make_plan(connection, wanted).condition)
    statement = statement.order_by(audit_events.c.seq).limit(wanted.limit)
    with connection.execute(statement, execution_options={"yield_per": _ROWS_PER_FETCH}) as result:
        for row in result:
            yield AuditRow(**row._mapping)
