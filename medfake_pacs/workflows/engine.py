"""The durable workflows on DBOS: what they are called, in which queues they run, and how broken ones go on.

A workflow's id follows from what it works on, so that handing the same work over twice runs it once. The
tables say what is to be done; the engine remembers what was begun and goes on with it after a crash.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetWorkflowID

from medfake_pacs.database import database_id
from medfake_pacs.workflows import assessment, deliveries, reporting, scoring
from medfake_pacs.workflows.completion import Assessable
from medfake_pacs.workflows.context import Context

# Changes only when the workflows' steps do: a node takes only work of its own version.
APPLICATION_VERSION = "1"
SCORING, ASSESSMENT, DELIVERY = "scoring", "assessment", "delivery"
_POLLING_INTERVAL_S = 0.1
_ACTIVE = {"ENQUEUED", "PENDING", "DELAYED"}
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
# Enough for an image that kills its process three times; more is a fault that the clock's repair deals with.
_RECOVERIES = 6
# A step that is tried again holds its place in the queue; after this the clock hands it over again.
_STEP_ATTEMPTS = 5
_STEP_INTERVAL_S = 2.0
_PAGE = 500
_log = logging.getLogger(__name__)
R = TypeVar("R")


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError, OSError))


class Engine:
    """Starts DBOS for one worker process, and takes work for it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Ids of another database's work must not be taken for this one's, say after one of the two was restored.
        self._database = database_id(context.engine)[:8]
        self._score: Callable[[str], int]
        self._assess: Callable[[str, int], list[str]]
        self._deliver: Callable[[str], int]

    def start(self) -> None:
        """Open the workflow tables, register the workflows and go on with what was begun before."""
        settings = self._context.settings
        settings.node.state_dir.mkdir(parents=True, exist_ok=True)
        DBOS(
            config=DBOSConfig(
                name="medfake-pacs",
                system_database_url=settings.workflow_database_url,
                application_version=APPLICATION_VERSION,
                executor_id=f"{settings.node_id}/worker",
                db_engine_kwargs={"hide_parameters": True},
                log_level="WARNING",
                enable_otlp=False,
            )
        )
        self._register()
        DBOS.launch()
        for name, concurrency in ((SCORING, 2), (ASSESSMENT, 2), (DELIVERY, 8)):
            DBOS.register_queue(name, worker_concurrency=concurrency, polling_interval_sec=_POLLING_INTERVAL_S)

    def stop(self, timeout_s: float) -> None:
        """Stop taking work and give what runs ``timeout_s`` to end; the rest goes on at the next start."""
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=int(timeout_s))

    def enqueue_chunk(self, chunk_id: str) -> None:
        """Have a chunk of images scored."""
        with SetWorkflowID(self._id(chunk_id)):
            DBOS.enqueue_workflow(SCORING, self._score, chunk_id)

    def enqueue_assessment(self, item: Assessable) -> None:
        """Have a complete revision assessed, reported and its report delivered."""
        with SetWorkflowID(self._assessment_id(item)):
            DBOS.enqueue_workflow(ASSESSMENT, self._assess, item.study_instance_uid, item.revision)

    def enqueue_delivery(self, destination: str, batch: str) -> None:
        """Have everything that is due for a destination sent; ``batch`` tells one such moment from another."""
        with SetWorkflowID(self._id(f"deliver:{destination}:{batch}")):
            DBOS.enqueue_workflow(DELIVERY, self._deliver, destination)

    def chunk_is_active(self, chunk_id: str) -> bool | None:
        """Tell whether a chunk's workflow runs or waits to; None if there is none."""
        return self._is_active(self._id(chunk_id))

    def assessment_is_active(self, item: Assessable) -> bool | None:
        """Tell whether a revision's workflow runs or waits to; None if there is none."""
        return self._is_active(self._assessment_id(item))

    @staticmethod
    def _is_active(workflow_id: str) -> bool | None:
        status = DBOS.get_workflow_status(workflow_id)
        return None if status is None else status.status in _ACTIVE

    def _id(self, name: str) -> str:
        return f"{self._database}:{name}"

    def _assessment_id(self, item: Assessable) -> str:
        return self._id(f"assess:{item.study_instance_uid}:{item.revision}:{item.attempts}")

    def resume_work_of(self, node_id: str) -> int:
        """Go on with what a dead node had in flight; return how many workflows that are."""
        pending = DBOS.list_workflows(
            status="PENDING", executor_id=f"{node_id}/worker", load_input=False, load_output=False
        )
        for item in pending:
            DBOS.resume_workflow(item.workflow_id)
        return len(pending)

    def forget_finished(self, older_than_s: float) -> int:
        """Delete the records of workflows that ended more than ``older_than_s`` ago; return how many."""
        limit = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - older_than_s))
        count = 0
        while True:
            ended = DBOS.list_workflows(
                status=_ENDED, completed_before=limit, limit=_PAGE, load_input=False, load_output=False
            )
            if not ended:
                return count
            DBOS.delete_workflows([item.workflow_id for item in ended])
            count += len(ended)

    def _register(self) -> None:
        context = self._context

        @DBOS.workflow(name="score", max_recovery_attempts=_RECOVERIES)
        def score(chunk_id: str) -> int:
            return self._step("score-chunk", scoring.score_chunk, context, chunk_id)

        @DBOS.workflow(name="assess", max_recovery_attempts=_RECOVERIES)
        def assess(study_instance_uid: str, revision: int) -> list[str]:
            assessed = self._step("assess-revision", assessment.assess_revision, context, study_instance_uid, revision)
            if not assessed:
                return []
            names = self._step("report-revision", reporting.report_revision, context, study_instance_uid, revision)
            for name in names:
                self.enqueue_delivery(name, f"{study_instance_uid}:{revision}")
            return names

        @DBOS.workflow(name="deliver", max_recovery_attempts=_RECOVERIES)
        def deliver(destination: str) -> int:
            return self._step("deliver", deliveries.send_due, context, destination)

        self._score, self._assess, self._deliver = score, assess, deliver

    @staticmethod
    def _step(name: str, function: Callable[..., R], *arguments: object) -> R:
        """Run a step that is tried again a few times where the database or the disk is out of reach."""
        return DBOS.run_step(
            {
                "name": name,
                "retries_allowed": True,
                "max_attempts": _STEP_ATTEMPTS,
                "interval_seconds": _STEP_INTERVAL_S,
                "backoff_rate": 1.0,
                "should_retry": _is_transient,
            },
            function,
            *arguments,
        )
