"""What is deleted of checks, and when: their files after a while, their rows never, broken uploads wholly."""

import logging
import shutil
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.config import Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import checks
from medfake_pacs.workflows.context import Context

FINISHED = ("done", "failed")
_DAY_S = 86_400.0
_ABANDONED_S = 3600.0
_AT_A_TIME = 200
_log = logging.getLogger(__name__)


def expire(context: Context, now: float) -> int:
    """Delete the files of the checks whose retention is over, and uploads that broke off; return how many.

    Files that can't be deleted are tried again the next time: a check only counts as expired when they are gone.
    """
    deleted, after = 0, ""
    while found := _over(context, now, after):
        deleted += sum(delete_files(context.engine, context.settings, check_id, now) for check_id in found)
        after = found[-1]
    swept = _sweep(context, now) + _sweep_folders(context, now)
    if deleted or swept:
        _log.info("retention of checks", extra={"checks": deleted, "broken_uploads": swept})
    return deleted


def delete_files(engine: sa.Engine, settings: Settings, check_id: str, now: float) -> bool:
    """Delete what a finished check keeps on the disk, then mark it as expired; False if something is left."""
    if not _delete(settings.checks_dir / check_id):
        return False
    with transaction(engine) as connection:
        mine = (checks.c.check_id == check_id, checks.c.expired_at.is_(None))
        connection.execute(sa.update(checks).where(*mine).values(expired_at=now))
    return True


def _over(context: Context, now: float, after: str) -> list[str]:
    limit = now - context.settings.console.check_retention_days * _DAY_S
    query = sa.select(checks.c.check_id).where(
        checks.c.state.in_(FINISHED),
        checks.c.expired_at.is_(None),
        checks.c.finished_at < limit,
        checks.c.check_id > after,
    )
    with reading(context.engine) as connection:
        return list(connection.execute(query.order_by(checks.c.check_id).limit(_AT_A_TIME)).scalars())


def _sweep(context: Context, now: float) -> int:
    """Delete uploads that nothing was written of for a while: the console died with them in hand."""
    query = sa.select(checks.c.check_id).where(checks.c.state == "uploading", checks.c.created_at < now - _ABANDONED_S)
    with reading(context.engine) as connection:
        found = list(connection.execute(query).scalars())
    swept = 0
    for check_id in found:
        if _last_written(context.settings.checks_dir / check_id) > now - _ABANDONED_S:
            continue
        # The row first: an upload that is still alive is refused at its end. What is left lies in a folder of no check.
        with transaction(context.engine) as connection:
            mine = (checks.c.check_id == check_id, checks.c.state == "uploading")
            gone = connection.execute(sa.delete(checks).where(*mine)).rowcount == 1
        if gone:
            _delete(context.settings.checks_dir / check_id)
            swept += 1
    return swept


def _sweep_folders(context: Context, now: float) -> int:
    """Delete the folders of no check, or of one that keeps none: deleting them was broken off before."""
    root = context.settings.checks_dir
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    swept = 0
    for at in range(0, len(names), _AT_A_TIME):
        some = names[at : at + _AT_A_TIME]
        query = sa.select(checks.c.check_id).where(checks.c.check_id.in_(some), checks.c.expired_at.is_(None))
        with reading(context.engine) as connection:
            kept = set(connection.execute(query).scalars())
        old = [name for name in some if name not in kept and _last_written(root / name) < now - _ABANDONED_S]
        swept += sum(_delete(root / name) for name in old)
    return swept


def _last_written(folder: Path) -> float:
    try:
        return max((path.stat().st_mtime for path in (folder, *folder.iterdir())), default=0.0)
    except OSError:
        return 0.0


def _delete(folder: Path) -> bool:
    """Delete a folder with all that is in it; tell whether nothing of it is left."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return not folder.exists()
    except OSError as error:
        _log.error("files of a check can't be deleted", extra={"check_id": folder.name, "error": str(error)})
        return False
    return True
