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
            path = context.settings.spool_dir / row.path
            if not path.is_file():
                continue
            routing = series_routing(context, connection, row)
            if routing.model != model:
                continue
            works.append(
                Work(
                    instance_id=row.instance_id,
                    attributes=attributes_of(row),
                    path=path,
                    content_sha256=row.content_sha256,
                    calling_ae_title=row.calling_ae_title,
                    routing=routing,
                )
            )
            if len(works) == count:
                break
    return works


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
    series: dict[str, list[sa.Row]] = {}
    for row in rows:
        series.setdefault(row.series_instance_uid, []).append(row)
    for turn in zip_longest(*series.values()):
        yield from (row for row in turn if row is not None)
