"""The worker process: model, scoring, verdicts, reports, delivery and timers."""

import fcntl
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from medfake_pacs import __version__, audit
from medfake_pacs.config import Settings
from medfake_pacs.config.digest import configuration_digest
from medfake_pacs.config.masking import without_secrets
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent
from medfake_pacs.errors import BundleError
from medfake_pacs.workflows import housekeeping
from medfake_pacs.workflows.clock import Clock
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.engine import Engine

_STOP_TIMEOUT_S = 20.0
_log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT, then let running steps end; return the process' exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _setter(stop))
    with _sole_worker(settings):
        ended = False
        try:
            _work(settings, stop)
            ended = True
        finally:
            if not ended:
                # DBOS' threads would keep the process alive without its clock; the supervisor starts another.
                _log.error("the worker broke off", exc_info=True)
                logging.shutdown()
                os._exit(1)
    return 0


def _work(settings: Settings, stop: threading.Event) -> None:
    database = open_engine(settings.database_url)
    upgrade(database)
    context = Context.open(settings, database)
    _record_configuration(context)
    _record(context, "node-started", {"version": __version__, "configuration_sha256": configuration_digest(settings)})
    housekeeping.beat(context, f"{settings.node_id}/worker", "worker")
    engine = Engine(context)
    engine.start()
    clock = Clock(context, engine)
    clock.start()
    threading.Thread(target=_warm_up, args=(context,), name="warm-up", daemon=True).start()
    _log.info("working", extra={"node": settings.node_id})
    stop.wait()
    clock.stop()
    engine.stop(_STOP_TIMEOUT_S)
    context.decoders.close()
    _record(context, "node-stopped", {})
    clock.anchor()
    database.dispose()


@contextmanager
def _sole_worker(settings: Settings) -> Iterator[None]:
    """Hold the state folder's lock: a worker that outlived its supervisor must end before the next begins."""
    with (settings.node.state_dir / "worker.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("waiting for another worker on this state folder to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _setter(event: threading.Event) -> Callable[[int, object], None]:
    def handle(_number: int, _frame: object) -> None:
        event.set()

    return handle


def _record(context: Context, kind: str, payload: dict[str, object]) -> None:
    with transaction(context.engine) as connection:
        settings = context.settings
        event = AuditEvent(
            kind=kind,
            ae_title=settings.node.ae_title,
            payload={"node": settings.node_id, "role": "worker", **payload},
        )
        audit.append(connection, event)


def _record_configuration(context: Context) -> None:
    """Put the configuration into the log whenever it isn't the one that was in force before."""
    digest = configuration_digest(context.settings)
    query = (
        sa.select(audit_events.c.payload)
        .where(audit_events.c.kind == "configuration-loaded")
        .order_by(audit_events.c.seq.desc())
        .limit(1)
    )
    with reading(context.engine) as connection:
        before = connection.execute(query).scalar_one_or_none()
    if before is None or digest not in before:
        facts = {"sha256": digest, "configuration": without_secrets(context.settings.model_dump(mode="json"))}
        _record(context, "configuration-loaded", facts)


def _warm_up(context: Context) -> None:
    """Load the models that the routes name, so that the first study doesn't wait for it."""
    for name in sorted({route.model for route in context.settings.routes if route.model}):
        try:
            classifier = context.models.classifier(name)
        except BundleError as error:
            _log.error("a model can't be loaded", extra={"model": name, "reason": str(error)})
        else:
            _log.info("model ready", extra={"model": name, "engine": classifier.engine})
