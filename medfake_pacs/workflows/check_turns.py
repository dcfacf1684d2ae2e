"""Whose check is next: the accounts take turns, so that one's many uploads don't hold up everybody else's."""

from collections.abc import Sequence

import sqlalchemy as sa

from medfake_pacs.database.console_tables import checks

_UNFINISHED = ("waiting", "running")
_LOOKED_AT = 2000
# Whose last turn is longer ago than this has as good a right as one who had none.
_REMEMBERED_S = 86_400.0


def in_turn(connection: sa.Connection, now: float) -> Sequence[sa.Row]:
    """Return the checks that aren't finished: first those whose account has waited longest since its last turn.

    Within an account, and among accounts that had no turn lately, the oldest is first.
    """
    query = sa.select(checks).where(checks.c.state.in_(_UNFINISHED)).order_by(checks.c.created_at)
    rows = connection.execute(query.limit(_LOOKED_AT)).all()
    if len({row.user_id for row in rows}) < 2:
        return rows
    last = _last_turns(connection, {row.user_id for row in rows}, now)
    return sorted(rows, key=lambda row: (last.get(row.user_id, 0.0), row.created_at))


def _last_turns(connection: sa.Connection, user_ids: set[int], now: float) -> dict[int, float]:
    """Return when the newest turn of each account began, by account; those long ago are left out."""
    query = (
        sa.select(checks.c.user_id, sa.func.max(checks.c.started_at).label("last"))
        .where(
            checks.c.user_id.in_(user_ids),
            checks.c.created_at > now - _REMEMBERED_S,
            checks.c.started_at.is_not(None),
        )
        .group_by(checks.c.user_id)
    )
    return {row.user_id: row.last for row in connection.execute(query)}
