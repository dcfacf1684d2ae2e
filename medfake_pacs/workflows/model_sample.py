"""Which recent images a new bundle is tried on: the newest of a model's routes, spread over their series."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import sqlalchemy as sa

from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances
from medfake_pacs.workflows.chunk import Work
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.rows import attributes_of
from medfake_pacs.workflows.scoring import series_routing

# So many of the newest images are looked at: a few studies of CT.
_LOOKED_AT = 4000


def recent_images(context: Context, model: str, count: int) -> list[Work]:
    """Return up to ``count`` of the newest images that a model has scored and whose files are there.

    Each series gives one image in turn: the slices of one are alike, a hundred of them say little more than one.
    """
    with reading(context.engine) as connection:
        rows = connection.execute(_recent(context, model)).all()
        works = []
        for row in _in_turn(rows):
            work = _work(context, connection, row, model)
            if work is not None:
                works.append(work)
            if len(works) == count:
                break
    return works


def recent_series(context: Context, model: str, count: int) -> list[list[Work]]:
    """Return the newest whole series of more than one image, of up to ``count`` images together.

    Of a newest series that is longer by itself its middle is taken: neighbours, as its windows need them.
    """
    with reading(context.engine) as connection:
        found: list[list[Work]] = []
        left = count
        for rows in _by_series(connection.execute(_recent(context, model)).all()).values():
            members = sorted(rows, key=lambda row: (row.instance_number or 0, row.instance_id))
            if len(members) > left and not found:
                start = (len(members) - left) // 2
                members = members[start : start + left]
            if not 1 < len(members) <= left:
                continue
            works = [_work(context, connection, row, model) for row in members]
            there = [work for work in works if work is not None]
            if len(there) == len(members):
                found.append(there)
                left -= len(there)
    return found


def _work(context: Context, connection: sa.Connection, row: sa.Row, model: str) -> Work | None:
    path = context.settings.spool_dir / row.path
    if not path.is_file():
        return None
    routing = series_routing(context, connection, row)
    if routing.model != model:
        return None
    return Work(
        instance_id=row.instance_id,
        attributes=attributes_of(row),
        path=path,
        content_sha256=row.content_sha256,
        calling_ae_title=row.calling_ae_title,
        routing=routing,
    )


def count_recent(context: Context, model: str) -> int:
    """Return how many recent images there are, without looking whether their files are still there."""
    rows = _recent(context, model).subquery()
    with reading(context.engine) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())


def is_routed(context: Context, model: str) -> bool:
    """Tell whether any route has its images assessed by this model."""
    return any(route.model == model for route in context.settings.routes)


def _recent(context: Context, model: str) -> sa.Select[tuple[object, ...]]:
    routes = [route.name for route in context.settings.routes if route.model == model]
    newest = (
        sa.select(instances)
        .where(instances.c.state == "done")
        .order_by(instances.c.instance_id.desc())
        .limit(_LOOKED_AT)
        .subquery()
    )
    query = sa.select(newest).where(
        newest.c.route.in_(routes), newest.c.model_sha256 != "", newest.c.not_assessed_reason.is_(None)
    )
    return query.order_by(newest.c.instance_id.desc())


def _in_turn(rows: Sequence[sa.Row]) -> Iterator[sa.Row]:
    for turn in zip_longest(*_by_series(rows).values()):
        yield from (row for row in turn if row is not None)


def _by_series(rows: Sequence[sa.Row]) -> dict[str, list[sa.Row]]:
    series: dict[str, list[sa.Row]] = {}
    for row in rows:
        series.setdefault(row.series_instance_uid, []).append(row)
    return series
