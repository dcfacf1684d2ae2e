"""What went through lately: objects and bytes received, images scored, for a minute."""

from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from medfake_pacs.console.queries.facts import Fact, first_seq_since
from medfake_pacs.database.tables import audit_events, instances

_WINDOWS_S = (60.0, 600.0, 3600.0)
# Only so many of the newest are counted.
_MOST = 50_000


class Throughput(Fact):
    """Averages over the last ``window_s`` seconds."""

    window_s: Annotated[float, Field(description="over how many seconds")]
    objects_per_minute: Annotated[float, Field(description="images received")]
    bytes_per_minute: Annotated[float, Field(description="bytes of those")]
    images_scored_per_minute: Annotated[float, Field(description="images that a model has scored")]
    at_least: Annotated[bool, Field(description="whether there were too many to count all")] = False


def throughput(connection: sa.Connection, now: float) -> list[Throughput]:
    """Return the averages over the last minute, ten minutes and hour."""
    received = _received(connection, now)
    scored = _scored(connection, now)
    return [
        Throughput(
            window_s=window_s,
            objects_per_minute=objects * 60.0 / window_s,
            bytes_per_minute=size * 60.0 / window_s,
            images_scored_per_minute=images * 60.0 / window_s,
            at_least=objects >= _MOST or images >= _MOST,
        )
        for window_s, (objects, size), images in zip(_WINDOWS_S, received, scored, strict=True)
    ]


def _received(connection: sa.Connection, now: float) -> list[tuple[int, float]]:
    """Return the number and the bytes of the images that came in each window."""
    newest = int(connection.execute(sa.select(sa.func.max(instances.c.instance_id))).scalar_one() or 0)
    first = _first_instance_since(connection, now - max(_WINDOWS_S), newest)
    columns = []
    for window_s in _WINDOWS_S:
        inside = instances.c.received_at >= now - window_s
        columns += [sa.func.sum(sa.case((inside, 1), else_=0)), sa.func.sum(sa.case((inside, instances.c.size_bytes)))]
    found = connection.execute(sa.select(*columns).where(instances.c.instance_id >= first)).one()
    return [(int(found[i] or 0), float(found[i + 1] or 0)) for i in range(0, len(found), 2)]


def _scored(connection: sa.Connection, now: float) -> list[int]:
    """Return the number of images that were scored in each window."""
    firsts = [first_seq_since(connection, now - window_s) for window_s in _WINDOWS_S]
    mine = sa.select(audit_events.c.seq).where(audit_events.c.kind == "image-scored", audit_events.c.seq >= min(firsts))
    seq = mine.order_by(audit_events.c.seq.desc()).limit(_MOST).subquery().c.seq
    found = connection.execute(sa.select(*(sa.func.sum(sa.case((seq >= first, 1), else_=0)) for first in firsts))).one()
    return [int(number or 0) for number in found]


def _first_instance_since(connection: sa.Connection, moment: float, newest: int) -> int:
    """Return the number of about the first instance since ``moment``, of the newest that are counted.

    Numbers grow with time, so that halving finds it by a few rows; there is no index by time, which every
    object received would have to pay for.
    """
    low, high = max(1, newest - _MOST + 1), newest + 1
    while low < high:
        middle = (low + high) // 2
        query = sa.select(instances.c.received_at).where(instances.c.instance_id >= middle)
        found = connection.execute(query.order_by(instances.c.instance_id).limit(1)).scalar_one_or_none()
        if found is None or found >= moment:
            high = middle
        else:
            low = middle + 1
    return low
