"""Notifications of verdicts, for pages and REST API: a page of them, and each target at a glance."""

from dataclasses import dataclass
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import Depends, Query

from medfake_pacs.config import Settings
from medfake_pacs.database.console_tables import notifications
from medfake_pacs.notification import ListedNotification, listing
from medfake_pacs.notification.queue import DEAD, WAITING

PAGE_ROWS = 50
_NUMBER = 2**63 - 1
_TROUBLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationConditions:
    """Which notifications to show, from below the number ``before`` on; an empty condition always holds."""

    state: Literal["", "waiting", "sent", "dead"] = ""
    target: str = ""
    study: str = ""
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationPage:
    """A page, newest first; ``older`` is the number to go on from, None at the end."""

    rows: tuple[ListedNotification, ...]
    older: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSummary:
    """Whom a configured notification tells of what, and how that goes; ``configured`` is False once it is gone."""

    name: str
    kind: str
    on: str
    waiting: int
    dead: int
    oldest_waiting_at: float | None
    configured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSection:
    """What the node's page shows: every target, and the newest that couldn't be told."""

    targets: tuple[TargetSummary, ...]
    troubles: tuple[ListedNotification, ...]


def conditions_of(
    state: Annotated[
        Literal["", "waiting", "sent", "dead"], Query(description="waiting, sent or dead; empty: any")
    ] = "",
    target: Annotated[str, Query(max_length=64, description="name of a notification in the configuration")] = "",
    study: Annotated[str, Query(max_length=64, description="Study Instance UID")] = "",
    before: Annotated[int | None, Query(ge=1, le=_NUMBER, description="only those numbered below this")] = None,
) -> NotificationConditions:
    """Return the conditions of a request; use as a dependency."""
    return NotificationConditions(state=state, target=target.strip(), study=study.strip(), before=before)


Conditions = Annotated[NotificationConditions, Depends(conditions_of)]


def notification_page(connection: sa.Connection, conditions: NotificationConditions) -> NotificationPage:
    """Return the page that the conditions ask for."""
    rows = list(
        listing(
            connection,
            state=conditions.state,
            target=conditions.target,
            study=conditions.study,
            before=conditions.before,
            limit=PAGE_ROWS + 1,
        )
    )
    older = rows[PAGE_ROWS - 1].notification_id if len(rows) > PAGE_ROWS else None
    return NotificationPage(rows=tuple(rows[:PAGE_ROWS]), older=older)


def notification_section(connection: sa.Connection, settings: Settings) -> NotificationSection:
    """Return what the node's page shows of notifications."""
    columns = notifications.c
    query = sa.select(columns.target, columns.state, sa.func.count(), sa.func.min(columns.queued_at))
    query = query.where(columns.state.in_((WAITING, DEAD))).group_by(columns.target, columns.state)
    found = {(target, state): (number, oldest) for target, state, number, oldest in connection.execute(query)}
    entries = {item.name: (item.kind, ", ".join(item.on), True) for item in settings.notifications}
    for target, _ in found:
        entries.setdefault(target, ("", "", False))
    targets = []
    for name, (kind, on, configured) in entries.items():
        waiting, oldest = found.get((name, WAITING), (0, None))
        dead, _ = found.get((name, DEAD), (0, None))
        targets.append(
            TargetSummary(
                name=name,
                kind=kind,
                on=on,
                waiting=waiting,
                dead=dead,
                oldest_waiting_at=oldest,
                configured=configured,
            )
        )
    troubles = tuple(listing(connection, state=DEAD, limit=_TROUBLES))
    return NotificationSection(targets=tuple(targets), troubles=troubles)
