"""What an administrator sees of the notifications."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.database.console_tables import notifications
from medfake_pacs.database.tables import verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNotification:
    """One notification as it stands; times are seconds since the epoch, ``last_status`` None without an answer."""

    notification_id: int
    target: str
    study_instance_uid: str
    revision: int
    verdict: str
    state: str
    attempts: int
    created_at: float
    next_attempt_at: float
    finished_at: float | None
    last_status: int | None
    last_comment: str


def listing(
    connection: sa.Connection,
    *,
    state: str = "",
    target: str = "",
    study: str = "",
    before: int | None = None,
    limit: int | None = None,
) -> Iterator[ListedNotification]:
    """Yield the notifications that meet every given condition, newest first, from below the number ``before`` on."""
    columns = notifications.c
    told = sa.and_(
        verdicts.c.study_instance_uid == columns.study_instance_uid,
        verdicts.c.revision == columns.revision,
        verdicts.c.scope == "study",
    )
    names = [name for name in ListedNotification.__dataclass_fields__ if name != "verdict"]
    query = sa.select(
        *(columns[name] for name in names), sa.func.coalesce(verdicts.c.verdict, "").label("verdict")
    ).join_from(notifications, verdicts, told, isouter=True)
    for column, value in ((columns.state, state), (columns.target, target), (columns.study_instance_uid, study)):
        if value:
            query = query.where(column == value)
    if before is not None:
        query = query.where(columns.notification_id < before)
    for row in connection.execute(query.order_by(columns.notification_id.desc()).limit(limit)):
        yield ListedNotification(**row._mapping)
