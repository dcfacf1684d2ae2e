"""Keep on each study what the worklist shows of its newest verdict."""

import sqlalchemy as sa

from medfake_pacs.database.intake import SHOWN_CHARACTERS
from medfake_pacs.database.tables import studies
from medfake_pacs.entities import SeriesVerdict, Verdict


def record_verdict(connection: sa.Connection, verdict: Verdict, now: float) -> None:
    """Write the verdict into the study's row, in the transaction that records it; an older revision's changes nothing.

    ``model_name`` and ``model_sha256`` stay empty if several models had a part in it. ``modality`` becomes that of
    the series that decides the verdict: until then it is that of the first image, which may be of another series.
    """
    models = {(series.model.name, series.model.sha256) for series in verdict.series if series.model}
    model_name, model_sha256 = models.pop() if len(models) == 1 else ("", "")
    newest = sa.or_(studies.c.verdict_revision.is_(None), studies.c.verdict_revision <= verdict.revision)
    values: dict[str, object] = {
        "verdict": str(verdict.label),
        "probability": verdict.probability,
        "verdict_revision": verdict.revision,
        "verdict_at": now,
        "model_name": model_name,
        "model_sha256": model_sha256,
        "images_total": verdict.images_total,
        "images_scored": verdict.images_scored,
    }
    deciding = _deciding_series(verdict)
    if deciding and deciding.modality:
        values["modality"] = deciding.modality[:SHOWN_CHARACTERS]
    mine = studies.c.study_instance_uid == verdict.study_instance_uid
    connection.execute(sa.update(studies).where(mine, newest).values(values))


def _deciding_series(verdict: Verdict) -> SeriesVerdict | None:
    """Return the series whose verdict is the study's; of several, the one with the highest probability."""
    same = [series for series in verdict.series if series.label == verdict.label]
    ordered = sorted(same, key=lambda series: series.series_instance_uid)
    return max(ordered, key=lambda series: -1.0 if series.probability is None else series.probability, default=None)
