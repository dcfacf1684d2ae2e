"""Tell people and programs of verdicts: queue notifications with the verdict, send those that are due."""

import logging
import threading
import time

import sqlalchemy as sa

from medfake_pacs import crashpoints
from medfake_pacs.config import NotificationSettings, Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.entities import Verdict
from medfake_pacs.errors import MedfakeError
from medfake_pacs.notification import DueNotification, Outcome, claim, due, give_up_unknown, record
from medfake_pacs.notification import queue as notification_queue
from medfake_pacs.notification.notice import read_notice
from medfake_pacs.notification.sending import send
from medfake_pacs.workflows.context import Context

_BATCH = 20
# How long a claimed notification is left to whoever claimed it: twice what sending may take, and this.
_MARGIN_S = 5.0
_STOP_S = 5.0
_log = logging.getLogger(__name__)


def enqueue(connection: sa.Connection, settings: Settings, verdict: Verdict, now: float) -> None:
    """Queue a notification for every target that wants to know of such a verdict, in the caller's transaction."""
    notification_queue.enqueue(connection, verdict, settings.notifications, now)


class Notifier:
    """Sends what is due, each target in a thread of its own: one that hangs keeps nobody else waiting."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._busy: dict[str, threading.Thread] = {}
        self._stopping = threading.Event()
        # It logs each address, and a webhook's may hold a key.
        logging.getLogger("httpx").setLevel(logging.WARNING)

    def give_up_unknown(self) -> None:
        """Make dead letters of what waits for targets that aren't configured any more."""
        names = [target.name for target in self._context.settings.notifications]
        with transaction(self._context.engine) as connection:
            give_up_unknown(connection, names, time.time())

    def send_due(self) -> None:
        """Begin to send what is due for each target that isn't being told of something already."""
        for target in self._context.settings.notifications:
            busy = self._busy.get(target.name)
            if self._stopping.is_set() or (busy and busy.is_alive()):
                continue
            with reading(self._context.engine) as connection:
                if not due(connection, target.name, time.time(), 1):
                    continue
            thread = threading.Thread(target=self._send, args=(target,), name=f"notify {target.name}", daemon=True)
            self._busy[target.name] = thread
            thread.start()

    def stop(self) -> None:
        """Begin nothing more, and let what is being sent end for a moment.

        What takes longer is cut off as by a crash: it is sent again after the next start, as the same event.
        """
        self._stopping.set()
        deadline = time.monotonic() + _STOP_S
        for thread in self._busy.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _send(self, target: NotificationSettings) -> None:
        try:
            send_batch(self._context, target, self._stopping)
        except (sa.exc.SQLAlchemyError, OSError, MedfakeError) as error:
            _log.error("notifying broke off", extra={"target": target.name, "reason": type(error).__name__})


def send_batch(context: Context, target: NotificationSettings, stopping: threading.Event) -> int:
    """Send a bounded number of a target's due notifications one by one; return how many were tried.

    It ends early at an answer that the others would get as well.
    """
    with reading(context.engine) as connection:
        items = due(connection, target.name, time.time(), _BATCH)
    count = 0
    for item in items:
        if stopping.is_set():
            break
        outcome = _send_one(context, target, item)
        if outcome is None:
            continue
        count += 1
        if outcome.everyone:
            break
    return count


def _send_one(context: Context, target: NotificationSettings, item: DueNotification) -> Outcome | None:
    """Claim, send and record one notification; None if another process has it in hand."""
    smtp = context.settings.smtp
    timeout_s = smtp.timeout_s if smtp and target.kind == "email" else target.timeout_s
    with transaction(context.engine) as connection:
        if not claim(connection, item, time.time() + 2 * timeout_s + _MARGIN_S):
            return None
        console_url = context.settings.console.url
        notice = read_notice(
            connection, item.notification_id, target.name, item.study_instance_uid, item.revision, console_url
        )
    if notice is None:
        outcome = Outcome(succeeded=False, status=None, comment="its verdict isn't in the tables any more")
    else:
        outcome = send(target, smtp, notice)
    crashpoints.reach("notification.before-record")
    with transaction(context.engine) as connection:
        state = record(connection, item, outcome, target.retry, time.time())
    extra = {"target": target.name, "study_instance_uid": item.study_instance_uid, "state": state}
    if outcome.succeeded:
        _log.info("notified", extra=extra)
    else:
        _log.warning("a notification failed", extra=extra | {"reason": outcome.comment})
    return outcome
