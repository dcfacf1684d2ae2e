"""What is deleted of checks, and when: their files after a while, their rows never, broken uploads wholly."""

import logging
import shutil
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import checks
from medfake_pacs.workflows.context import Context

_DAY_S = 86_400.0
_ABANDONED_S = 3600.0
_AT_A_TIME = 200
_log = logging.getLogger(__name__)


def expire(context: Context, now: float) -> int:
    """Delete the files of the checks whose retention is over, and uploads that broke off; return how many."""
    deleted = 0
    while found := _over(context, now):
        for check_id in found:
            with transaction(context.engine) as connection:
                mine = (checks.c.check_id == check_id, checks.c.expired_at.is_(None))
                connection.execute(sa.update(checks).where(*mine).values(expired_at=now))
            _delete(context, check_id)
        deleted += len(found)
    swept = _sweep(context, now)
    if deleted or swept:
        _log.info("retention of checks", extra={"checks": deleted, "broken_uploads": swept})
    return deleted


def _over(context: Context, now: float) -> list[str]:
    limit = now - context.settings.console.check_retention_days * _DAY_S
    query = sa.select(checks.c.check_id).where(
        checks.c.state.in_(("done", "failed")), checks.c.expired_at.is_(None), checks.c.finished_at < limit
    )
    with reading(context.engine) as connection:
        return list(connection.execute(query.limit(_AT_A_TIME)).scalars())


def _sweep(context: Context, now: float) -> int:
    """Delete uploads that nothing was written of for a while: the console died with them in hand."""
    query = sa.select(checks.c.check_id).where(checks.c.state == "uploading", checks.c.created_at < now - _ABANDONED_S)
    with reading(context.engine) as connection:
        found = list(connection.execute(query).scalars())
    swept = 0
    for check_id in found:
        if _last_written(context.settings.checks_dir / check_id) > now - _ABANDONED_S:
            continue
        with transaction(context.engine) as connection:
            mine = (checks.c.check_id == check_id, checks.c.state == "uploading")
            if connection.execute(sa.delete(checks).where(*mine)).rowcount == 1:
                _delete(context, check_id)
                swept += 1
    return swept


def _last_written(folder: Path) -> float:
    try:
        return max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)
    except OSError:
        return 0.0


def _delete(context: Context, check_id: str) -> None:
    shutil.rmtree(context.settings.checks_dir / check_id, ignore_errors=True)
