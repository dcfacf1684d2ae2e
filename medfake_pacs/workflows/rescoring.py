"""Score again what another model had scored: a verdict never mixes the scores of two models."""

import logging

import sqlalchemy as sa

from medfake_pacs.database import transaction
from medfake_pacs.database.tables import instances, revisions
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.scoring import series_routing

_GONE = "scored by a model that was replaced; the file isn't kept any more"
_log = logging.getLogger(__name__)


def put_back(context: Context, study_instance_uid: str, revision: int) -> int:
    """Put the images of a revision back in line whose score isn't the installed model's; return how many.

    That happens when a bundle was replaced between an image and a later one of its study. An image whose
    file is gone is not assessed, and no model's any more, since its pixels can't be scored again.
    """
    mine = (instances.c.study_instance_uid == study_instance_uid, instances.c.revision <= revision)
    count = 0
    with transaction(context.engine) as connection:
        rows = connection.execute(sa.select(instances).where(*mine, instances.c.model_sha256 != "")).all()
        current = {}
        for row in rows:
            if row.series_instance_uid not in current:
                current[row.series_instance_uid] = _model_sha256(context, connection, row)
            wanted = current[row.series_instance_uid]
            if row.model_sha256 == wanted or row.not_assessed_reason:
                continue
            there = (context.settings.spool_dir / row.path).is_file()
            change: dict[str, object] = {"state": "received", "chunk_id": None, "model_sha256": None}
            change["broken_attempts"] = row.broken_attempts + 1
            if not there:
                change = {"not_assessed_reason": _GONE, "model_sha256": ""}
            connection.execute(sa.update(instances).where(instances.c.instance_id == row.instance_id).values(**change))
            count += there
        if count:
            again = sa.update(revisions).values(attempts=revisions.c.attempts + 1)
            connection.execute(
                again.where(revisions.c.study_instance_uid == study_instance_uid, revisions.c.revision == revision)
            )
    if count:
        _log.info("scored again by another model", extra={"study_instance_uid": study_instance_uid, "images": count})
    return count


def _model_sha256(context: Context, connection: sa.Connection, row: "sa.Row[tuple[object, ...]]") -> str:
    """Return the digest of the model that the row's series is routed to now; the old one where none is.

    Raises
    ------
    BundleError
        If that model isn't installed; the assessment is tried again later.
    """
    model = series_routing(context, connection, row).model
    if not model:
        return str(row.model_sha256)
    return context.models.bundle(model).model_sha256
