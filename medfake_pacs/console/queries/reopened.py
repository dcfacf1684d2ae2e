"""Studies that have a verdict and will have a newer one: their images arrive, or a newer revision isn't assessed."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from medfake_pacs.database.tables import STUDY_REOPENED, revisions, studies


def reopened_studies() -> sa.CTE:
    """Return them as a part of a query: found by their own index before anything else is asked of them."""
    return sa.select(studies).where(sa.text(STUDY_REOPENED)).cte("reopened").prefix_with("MATERIALIZED")


def waiting_since(columns: "sa.ReadOnlyColumnCollection[str, sa.ColumnElement[float]]") -> sa.ColumnElement[float]:
    """Return since when a reopened study waits for its verdict: its newest image came then."""
    return sa.func.coalesce(columns.last_received_at, columns.first_received_at)


def is_reopened(study: Mapping[str, object]) -> bool:
    """Tell the same of the row of a study that has a verdict."""
    revision, assessed = study["revision"], study["verdict_revision"] or 0
    return study["opened_at"] is not None or bool(revision > assessed)  # type: ignore[operator]


def unassessed_revisions(
    connection: sa.Connection, uids: Sequence[str]
) -> dict[str, "sa.Row[tuple[str, int, int, float]]"]:
    """Return of each of these studies the first revision that isn't assessed: the others wait for it."""
    columns = revisions.c
    query = sa.select(columns.study_instance_uid, columns.revision, columns.attempts, columns.next_attempt_at)
    query = query.where(columns.study_instance_uid.in_(uids), columns.state != "assessed")
    found = connection.execute(query.order_by(columns.revision.desc())) if uids else ()
    return {row.study_instance_uid: row for row in found}
