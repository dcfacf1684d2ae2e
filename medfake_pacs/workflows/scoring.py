"""Claim images in chunks while their series is still arriving, and record what became of them."""

import time
from collections.abc import Sequence

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.tables import instances, scores
from medfake_pacs.entities import AuditEvent
from medfake_pacs.routing import Routing, choose_route
from medfake_pacs.workflows.chunk import Outcome, Work, assess_images
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.rows import attributes_of, score_to_json

_CHUNKS_AHEAD = 4
_MAXIMUM_CRASHES = 3


def claim_chunks(context: Context) -> list[str]:
    """Give the oldest unclaimed images chunk ids, and return the ids; a few chunks ahead, no more.

    The id follows from the images in it and how often scoring them broke off, so that a chunk that is
    handed to the engine twice is run once.
    """
    size = context.settings.scoring.chunk_images
    with reading(context.engine) as connection:
        if connection.execute(_unclaimed(1)).first() is None:
            return []
    with transaction(context.engine) as connection:
        ahead = connection.execute(
            sa.select(sa.func.count(sa.distinct(instances.c.chunk_id))).where(instances.c.state == "queued")
        ).scalar_one()
        rows = connection.execute(_unclaimed(size * max(0, _CHUNKS_AHEAD - ahead)).with_for_update(skip_locked=True))
        found = list(rows)
        chunks = [found[start : start + size] for start in range(0, len(found), size)]
        return [_mark(connection, chunk) for chunk in chunks]


def _unclaimed(limit: int) -> "sa.Select[tuple[int, int]]":
    columns = sa.select(instances.c.instance_id, instances.c.broken_attempts)
    return columns.where(instances.c.state == "received").order_by(instances.c.instance_id).limit(limit)


def _mark(connection: sa.Connection, rows: Sequence["sa.Row[tuple[int, int]]"]) -> str:
    broken = max(row.broken_attempts for row in rows)
    chunk_id = f"score:{rows[0].instance_id}-{rows[-1].instance_id}:{len(rows)}:{broken}"
    ids = [row.instance_id for row in rows]
    connection.execute(
        sa.update(instances).where(instances.c.instance_id.in_(ids)).values(state="queued", chunk_id=chunk_id)
    )
    return chunk_id


def queued_chunks(context: Context) -> list[str]:
    """Return the ids of every chunk that is claimed and not recorded."""
    with reading(context.engine) as connection:
        query = sa.select(instances.c.chunk_id).where(instances.c.state == "queued").distinct()
        return sorted(connection.execute(query).scalars())


def give_back(context: Context, chunk_id: str) -> None:
    """Put the images of a chunk whose workflow broke off back in line, to be claimed under another id."""
    with transaction(context.engine) as connection:
        connection.execute(
            sa.update(instances)
            .where(instances.c.chunk_id == chunk_id, instances.c.state == "queued")
            .values(state="received", chunk_id=None, broken_attempts=instances.c.broken_attempts + 1)
        )


def score_chunk(context: Context, chunk_id: str) -> int:
    """Decode and score every image of a chunk and record what became of each; return how many there were.

    Images that are done already are left alone, so that the step may run again after a crash. Where a
    process died with the chunk in hand its images are scored one by one, each recorded before the next is
    begun; the one that three processes died with is given up, so that it can't keep the others waiting.
    """
    suspects = _take_in_hand(context, chunk_id)
    works = load_chunk(context, chunk_id)
    crashpoints.reach("worker.chunk-loaded")
    if not suspects:
        _score(context, works)
        return len(works)
    for work in works:
        if suspects[work.instance_id] >= _MAXIMUM_CRASHES:
            record(context, [Outcome(work=work, reason=f"the process that scored it died {_MAXIMUM_CRASHES} times")])
            continue
        with transaction(context.engine) as connection:
            mine = instances.c.instance_id == work.instance_id
            connection.execute(sa.update(instances).where(mine).values(scoring_process=context.process_id))
        _score(context, [work])
    return len(works)


def _take_in_hand(context: Context, chunk_id: str) -> dict[int, int]:
    """Note which process has the chunk; return how many died with each image, if any did with one."""
    mine = (instances.c.chunk_id == chunk_id, instances.c.state == "queued")
    died = sa.and_(instances.c.scoring_process.is_not(None), instances.c.scoring_process != context.process_id)
    with transaction(context.engine) as connection:
        connection.execute(sa.update(instances).where(*mine, died).values(crashes=instances.c.crashes + 1))
        found = connection.execute(sa.select(instances.c.instance_id, instances.c.crashes).where(*mine))
        crashes = {row.instance_id: row.crashes for row in found}
        suspect = any(crashes.values())
        holder = None if suspect else context.process_id
        connection.execute(sa.update(instances).where(*mine).values(scoring_process=holder))
    return crashes if suspect else {}


def _score(context: Context, works: Sequence[Work]) -> None:
    with context.decoders.borrow() as decoder:
        outcomes = assess_images(context, decoder, works)
    crashpoints.reach("worker.chunk-scored")
    record(context, outcomes)
    crashpoints.reach("worker.chunk-recorded")


def load_chunk(context: Context, chunk_id: str) -> list[Work]:
    """Return the images of a chunk that aren't done yet."""
    with reading(context.engine) as connection:
        query = sa.select(instances).where(instances.c.chunk_id == chunk_id, instances.c.state == "queued")
        rows = connection.execute(query.order_by(instances.c.instance_id)).all()
        firsts = {row.series_instance_uid: row for row in reversed(rows)}
        routings = {uid: series_routing(context, connection, row) for uid, row in firsts.items()}
    return [
        Work(
            instance_id=row.instance_id,
            attributes=attributes_of(row),
            path=context.settings.spool_dir / row.path,
            content_sha256=row.content_sha256,
            calling_ae_title=row.calling_ae_title,
            routing=routings[row.series_instance_uid],
        )
        for row in rows
    ]


def series_routing(context: Context, connection: sa.Connection, row: "sa.Row[tuple[object, ...]]") -> Routing:
    """Route a series by the first image that came of it, so that all of its images get the same model."""
    query = sa.select(instances).where(
        instances.c.study_instance_uid == row.study_instance_uid,
        instances.c.series_instance_uid == row.series_instance_uid,
    )
    first = connection.execute(query.order_by(instances.c.instance_id).limit(1)).one()
    return choose_route(context.settings.routes, attributes_of(first), first.calling_ae_title, first.called_ae_title)


def record(context: Context, outcomes: Sequence[Outcome]) -> None:
    """Write scores, rows and log events of a chunk in one transaction; images recorded before are skipped."""
    with transaction(context.engine) as connection:
        for outcome in outcomes:
            if _finish_instance(connection, outcome):
                store_score(connection, outcome)
                audit.append(connection, _event(outcome))


def _finish_instance(connection: sa.Connection, outcome: Outcome) -> bool:
    work = outcome.work
    # JPEG 2000 can be either; where the header doesn't say, the decoder takes it for lossy.
    lossy = work.attributes.lossy or bool(outcome.info and outcome.info.lossy)
    result = connection.execute(
        sa.update(instances)
        .where(instances.c.instance_id == work.instance_id, instances.c.state == "queued")
        .values(
            state="done",
            lossy=lossy,
            pixel_sha256=outcome.pixel_sha256 or None,
            route=work.routing.name,
            model_sha256=outcome.model_sha256,
            decoder=outcome.info.decoder if outcome.info else None,
            scoring_process=None,
            not_assessed_reason=outcome.reason or None,
        )
    )
    return result.rowcount == 1


def store_score(connection: sa.Connection, outcome: Outcome) -> None:
    """Keep the score of an outcome, if it has one, by (pixel digest, model digest); one that is kept stays."""
    if outcome.score is None:
        return
    statement = insert_into(connection, scores).values(
        pixel_sha256=outcome.pixel_sha256,
        model_sha256=outcome.model_sha256,
        frames=score_to_json(outcome.score),
        engine=outcome.score.engine,
        scored_at=time.time(),
    )
    connection.execute(statement.on_conflict_do_nothing())


def _event(outcome: Outcome) -> AuditEvent:
    work, attributes = outcome.work, outcome.work.attributes
    payload: dict[str, object] = {
        "instance_id": work.instance_id,
        "content_sha256": work.content_sha256,
        "pixel_sha256": outcome.pixel_sha256,
        "route": work.routing.name,
        "model": work.routing.model,
        "decoder": outcome.info.decoder if outcome.info else "",
    }
    if outcome.score:
        payload |= {"score": max(frame.score for frame in outcome.score.frames), "engine": outcome.score.engine}
    else:
        payload |= {"reason": outcome.reason}
    return AuditEvent(
        kind="image-scored" if outcome.score else "image-not-assessed",
        study_instance_uid=attributes.study_instance_uid,
        series_instance_uid=attributes.series_instance_uid,
        sop_instance_uid=attributes.sop_instance_uid,
        patient_id=attributes.patient_id,
        accession_number=attributes.accession_number,
        ae_title=work.calling_ae_title,
        model_sha256=outcome.model_sha256,
        payload=payload,
    )
