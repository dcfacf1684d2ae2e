"""The clock (APScheduler): quiet timers, hand-over of work, heartbeats, repairs, retention, the log's anchor."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from medfake_pacs import audit
from medfake_pacs.database import reading
from medfake_pacs.errors import MedfakeError
from medfake_pacs.workflows import (
    check_retention,
    checking,
    completion,
    deliveries,
    housekeeping,
    model_updates,
    notifying,
    reviewing,
    scoring,
)
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.engine import Engine

_HAND_OVER_S = 0.2
_DELIVERY_S = 0.5
_CHECKS_S = 0.3
_MODELS_S = 2.0
_HEARTBEAT_S = 5.0
_REPAIR_S = 30.0
# A worker that doesn't know a new destination yet leaves its reports to one that does.
_UNKNOWN_AFTER_S = 300.0
_HOUR_S = 3600.0
_DAY_S = 86_400.0
_SOON_S = 60.0
_WORKFLOW_RETENTION_S = 7 * _DAY_S
_log = logging.getLogger(__name__)


class Clock:
    """Runs each job at its interval; a job that is late is run once, never twice at the same time."""

    def __init__(self, context: Context, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self._notifier = notifying.Notifier(context)
        self._handed_over: set[completion.Assessable] = set()
        self._suspects: set[str] = set()
        self._stopping = threading.Event()
        self._model_updates = model_updates.ModelUpdates(context, self._stopping)
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(8)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        # It warns each time that a job is still busy when it is due again, which is as it should be.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)

    def start(self) -> None:
        """Repair what a crash left behind, then start every job."""
        deliveries.give_up_unknown(self._context, time.time())
        self._notifier.give_up_unknown()
        self.repair()
        jobs: tuple[tuple[Callable[[], object], float], ...] = (
            (self.hand_over_chunks, _HAND_OVER_S),
            (self.hand_over_studies, _HAND_OVER_S),
            (self.hand_over_deliveries, _DELIVERY_S),
            (self.run_checks, _CHECKS_S),
            (self.report_reviews, _DELIVERY_S),
            (self.notify, _DELIVERY_S),
            (self.update_models, _MODELS_S),
            (self.beat, _HEARTBEAT_S),
            (self.repair, _REPAIR_S),
            (self.give_up_unknown, _REPAIR_S),
            (self.keep_house, _HOUR_S),
            (self.anchor, _DAY_S),
        )
        for job, interval_s in jobs:
            self._scheduler.add_job(
                self._guarded(job),
                "interval",
                seconds=interval_s,
                id=job.__name__,
                next_run_time=datetime.now(UTC) + timedelta(seconds=min(interval_s, _SOON_S)),
            )
        self._scheduler.start()

    def stop(self) -> None:
        """Let the running jobs end, and start no more."""
        self._stopping.set()
        self._scheduler.shutdown(wait=True)
        self._notifier.stop()

    def hand_over_chunks(self) -> None:
        """Hand the images that have come to the engine, chunk by chunk."""
        for chunk_id in scoring.claim_chunks(self._context):
            self._engine.enqueue_chunk(chunk_id)

    def hand_over_studies(self) -> None:
        """Close the studies that are quiet, and hand those over whose images are all done."""
        completion.complete_studies(self._context, time.time())
        ready = completion.assessable_revisions(self._context, time.time())
        for item in ready:
            if item not in self._handed_over:
                self._engine.enqueue_assessment(item)
        self._handed_over = set(ready)

    def hand_over_deliveries(self) -> None:
        """Hand over each destination that a report is due for."""
        for destination, batch in deliveries.destinations_due(self._context, time.time()):
            self._engine.enqueue_delivery(destination, batch)

    def give_up_unknown(self) -> None:
        """Give up what waits for destinations that aren't configured."""
        deliveries.give_up_unknown(self._context, time.time(), _UNKNOWN_AFTER_S)

    def run_checks(self) -> None:
        """Assess the images that were uploaded to the console."""
        checking.run_waiting(self._context, self._stopping)

    def report_reviews(self) -> None:
        """Report what radiologists said of verdicts."""
        reviewing.report_reviews(self._context)

    def notify(self) -> None:
        """Send the notifications that are due."""
        self._notifier.send_due()

    def update_models(self) -> None:
        """Try the model bundles that were put into their folder, and switch to those that pass."""
        self._model_updates.run()

    def beat(self) -> None:
        """Say that this worker lives, and take over the work of one that doesn't any more."""
        node_id = self._context.settings.node_id
        housekeeping.beat(self._context, f"{node_id}/worker", "worker")
        for dead in housekeeping.take_dead_workers(self._context):
            count = self._engine.resume_work_of(dead.removesuffix("/worker"))
            _log.warning("took over from a dead node", extra={"node": dead, "workflows": count})

    def repair(self) -> None:
        """Go on with work whose hand-over or workflow broke off.

        A chunk whose workflow has ended although it isn't recorded is given back the second time that it is
        found so: the first time it may have been recorded just after it was looked up.
        """
        suspects = set()
        for chunk_id in scoring.queued_chunks(self._context):
            active = self._engine.chunk_is_active(chunk_id)
            if active is None:
                self._engine.enqueue_chunk(chunk_id)
            elif not active and chunk_id in self._suspects:
                _log.error("a chunk broke off", extra={"chunk_id": chunk_id})
                scoring.give_back(self._context, chunk_id)
            elif not active:
                suspects.add(chunk_id)
        self._suspects = suspects
        for item in completion.assessable_revisions(self._context, time.time()):
            active = self._engine.assessment_is_active(item)
            if active is None:
                self._engine.enqueue_assessment(item)
            elif not active and item in self._handed_over:
                delay_s = completion.postpone(self._context, item, time.time())
                if delay_s:
                    extra = {"study_instance_uid": item.study_instance_uid, "revision": item.revision}
                    _log.error("an assessment broke off", extra=extra | {"again_in_s": delay_s})

    def keep_house(self) -> None:
        """Delete what has been kept for long enough."""
        housekeeping.expire(self._context, time.time())
        check_retention.expire(self._context, time.time())
        self._engine.forget_finished(_WORKFLOW_RETENTION_S)

    def anchor(self) -> None:
        """Write the log's head to the anchor file, if one is configured."""
        path = self._context.settings.anchor_file
        if path:
            with reading(self._context.engine) as connection:
                audit.write_anchor(connection, path)

    def _guarded(self, job: Callable[[], object]) -> Callable[[], None]:
        """Return ``job`` so that what is out of reach or damaged is logged, and the job tried at its next turn."""

        def run() -> None:
            try:
                job()
            except (sa.exc.SQLAlchemyError, OSError) as error:
                _log.error("a job failed", extra={"job": job.__name__, "reason": type(error).__name__})
            except MedfakeError as error:
                _log.error("a job failed", extra={"job": job.__name__, "reason": str(error)})

        return run
