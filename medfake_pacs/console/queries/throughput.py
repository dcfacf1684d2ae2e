"""What went through lately: objects and bytes received, images scored, for a minute."""

from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from medfake_pacs.console.queries.facts import Fact, first_seq_since
from medfake_pacs.database.tables import audit_events, instances

_WINDOWS_S = (60.0, 600.0, 3600.0)
# Beyond so many objects only the newest are counted.
_OBJECTS = 200_000


class Throughput(Fact):
    """Averages over the last ``window_s`` seconds."""

    window_s: Annotated[float, Field(description="over how many seconds")]
    objects_per_minute: Annotated[float, Field(description="images received")]
    bytes_per_minute: Annotated[float, Field(description="bytes of those")]
    images_scored_per_minute: Annotated[float, Field(description="images that a model has scored")]
    at_least: Annotated[bool, Field(description="whether there were too many to count all")] = False


def throughput(connection: sa.Connection, now: float) -> list[Throughput]:
    """Return the averages over the last minute, ten minutes and hour."""
    return [_over(connection, now, window_s) for window_s in _WINDOWS_S]


def _over(connection: sa.Connection, now: float, window_s: float) -> Throughput:
    newest = connection.execute(sa.select(sa.func.max(instances.c.instance_id))).scalar_one() or 0
    first = max(_first_instance_since(connection, now - window_s, newest), newest - _OBJECTS)
    query = sa.select(sa.func.count(), sa.func.sum(instances.c.size_bytes)).where(
        instances.c.instance_id >= first, instances.c.received_at >= now - window_s
    )
    objects, size = connection.execute(query).one()
    events = audit_events.c
    scored = sa.select(events.seq).where(
        events.kind == "image-scored", events.seq >= first_seq_since(connection, now - window_s)
    )
    images = connection.execute(sa.select(sa.func.count()).select_from(scored.limit(_OBJECTS).subquery())).scalar_one()
    minutes = window_s / 60.0
    return Throughput(
        window_s=window_s,
        objects_per_minute=objects / minutes,
        bytes_per_minute=float(size or 0) / minutes,
        images_scored_per_minute=images / minutes,
        at_least=first == newest - _OBJECTS or images >= _OBJECTS,
    )


def _first_instance_since(connection: sa.Connection, moment: float, newest: int) -> int:
    """Return the number of about the first instance since ``moment``.

    Numbers grow with time, so that halving finds it by a few rows; there is no index by time, which every
    object received would have to pay for.
    """
    low, high = 1, newest + 1
    while low < high:
        middle = (low + high) // 2
        query = sa.select(instances.c.received_at).where(instances.c.instance_id >= middle)
        found = connection.execute(query.order_by(instances.c.instance_id).limit(1)).scalar_one_or_none()
        if found is None or found >= moment:
            high = middle
        else:
            low = middle + 1
    return low
