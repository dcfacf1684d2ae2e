"""What the node's queries share: frozen values that pages and the REST API show alike, counts with a bound."""

from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from medfake_pacs import audit
from medfake_pacs.database.tables import audit_events

COUNT_LIMIT = 1000


class Fact(BaseModel):
    """A frozen value with a description for each field, so that page and REST API have one source."""

    model_config = ConfigDict(frozen=True)


class Count(Fact):
    """A number of rows that was counted up to a bound only."""

    value: Annotated[int, Field(description="the number, or the bound where there are more")]
    more: Annotated[bool, Field(description="whether there are more than `value`")] = False

    def __str__(self) -> str:
        """Return the number, with a plus sign where there are more."""
        return f"{self.value}+" if self.more else str(self.value)


def count(connection: sa.Connection, rows: sa.Select[tuple[object, ...]], limit: int = COUNT_LIMIT) -> Count:
    """Count the rows of a query, but no more than ``limit``."""
    inner = rows.limit(limit + 1).subquery()
    found = int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())
    return Count(value=min(found, limit), more=found > limit)


def first_seq_since(connection: sa.Connection, moment: float) -> int:
    """Return the number of the log's first row since ``moment`` (seconds since the epoch), or one past its end."""
    columns = audit_events.c
    query = sa.select(columns.seq).where(columns.occurred_at >= audit.timestamp(moment))
    seq = connection.execute(query.order_by(columns.occurred_at).limit(1)).scalar_one_or_none()
    if seq is not None:
        return int(seq)
    return int(connection.execute(sa.select(sa.func.max(columns.seq))).scalar_one() or 0) + 1


def seconds_of(timestamp: str) -> float:
    """Return the log's RFC 3339 text as seconds since the epoch; 0 for text that isn't a time."""
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0
