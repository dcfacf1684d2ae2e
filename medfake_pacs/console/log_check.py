"""The check of the whole log, in a thread of its own: one at a time, watched from any page."""

import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import sqlalchemy as sa
from fastapi import FastAPI, Request

from medfake_pacs.audit import outcome
from medfake_pacs.audit.verify import Verification, verify_database
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.identity import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent
from medfake_pacs.errors import MedfakeError

_STOP_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckState:
    """How far the newest check is. ``text`` is what it came to, empty before; times are seconds since the epoch."""

    started_at: float
    started_by: str
    rows_done: int = 0
    rows_total: int = 0
    finished_at: float | None = None
    ok: bool | None = None
    text: str = ""
    remarks: tuple[str, ...] = ()
    first_broken_seq: int | None = None

    @property
    def running(self) -> bool:
        """Whether it isn't finished."""
        return self.finished_at is None


class _StoppedError(MedfakeError):
    """The console ends while a check runs."""


class LogCheck:
    """Runs a check and remembers the newest one, until the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._state: CheckState | None = None

    @property
    def state(self) -> CheckState | None:
        """The newest check; None if there was none since the console started."""
        with self._lock:
            return self._state

    def start(self, services: Services, identity: Identity) -> CheckState:
        """Begin a check unless one is running; return the running one."""
        with self._lock:
            if self._state is not None and self._state.running:
                return self._state
            self._state = CheckState(started_at=time.time(), started_by=identity.user_name)
            self._thread = threading.Thread(
                target=self._run, args=(services, identity), name="log-check", daemon=True
            )  # fmt: skip
            self._thread.start()
            return self._state

    def stop(self) -> None:
        """End a running check without a result."""
        self._ending.set()
        thread = self._thread
        if thread is not None:
            thread.join(_STOP_TIMEOUT_S)

    def _run(self, services: Services, identity: Identity) -> None:
        try:
            with reading(services.engine) as connection:
                total = connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar_one() or 0
            self._change(rows_total=total)
            result = verify_database(services.engine, services.settings.anchor_file, self._watch)
            if result.ok:
                event = AuditEvent(kind=outcome.KIND, payload=outcome.facts(result))
                record(services, DicomEvent.LOG_USED, identity, event)
            self._finish(result, services)
        except _StoppedError:
            self._change(finished_at=time.time(), text="the check was stopped with the console: it has no result")
        except (MedfakeError, sa.exc.SQLAlchemyError):
            _log.exception("the log can't be checked")
            text = "the log can't be verified: the database doesn't answer; try again in a moment"
            self._change(finished_at=time.time(), ok=False, text=text)
        except (OSError, RecursionError, ValueError):
            _log.exception("the check of the log broke off")
        finally:
            self._end()

    def _end(self) -> None:
        """Have no check go on for ever, whatever ended its thread."""
        state = self.state
        if state is not None and state.running:
            text = "the check broke off: it has no result; the console's error output says why"
            self._change(finished_at=time.time(), text=text)

    def _finish(self, result: Verification, services: Services) -> None:
        self._change(
            finished_at=time.time(),
            rows_done=result.rows,
            ok=result.ok,
            text=outcome.outcome(result),
            remarks=outcome.remarks(result, services.settings.anchor_file),
            first_broken_seq=result.first_broken_seq,
        )

    def _watch(self, rows: int) -> None:
        if self._ending.is_set():
            raise _StoppedError
        self._change(rows_done=rows)

    def _change(self, **values: object) -> None:
        with self._lock:
            if self._state is not None:
                self._state = replace(self._state, **values)


async def log_check_of(request: Request) -> LogCheck:
    """Return the application's one check; use as a dependency. Made in the event loop, so that there is only one."""
    state = request.app.state
    if getattr(state, "log_check", None) is None:
        state.log_check = LogCheck()
    found: LogCheck = state.log_check
    return found


@asynccontextmanager
async def stops_the_check(app: FastAPI) -> AsyncIterator[None]:
    """End a running check with the application; the lifespan of the log's router."""
    yield
    check: LogCheck | None = getattr(app.state, "log_check", None)
    if check is not None:
        check.stop()
