"""The words in which command line and console speak of notifications."""

from collections.abc import Sequence
from datetime import UTC, datetime

from medfake_pacs.notification.listing import ListedNotification
from medfake_pacs.notification.queue import WAITING
from medfake_pacs.wording import NOTIFICATION_STATES

NOTIFICATION_COLUMNS = ("ID", "study", "verdict", "target", "state", "attempts", "when", "status", "comment")


def notification_cells(row: ListedNotification) -> tuple[str, ...]:
    """Return a notification's cells in the order of the columns, made printable."""
    when = f"next {_time(row.next_attempt_at)}" if row.state == WAITING else _time(row.finished_at)
    cells = (
        str(row.notification_id),
        f"{row.study_instance_uid}, revision {row.revision}",
        row.verdict,
        row.target,
        NOTIFICATION_STATES.get(row.state, row.state),
        str(row.attempts),
        when,
        "" if row.last_status is None else str(row.last_status),
        row.last_comment,
    )
    return tuple(_printable(cell) for cell in cells)


def retried(done: Sequence[int]) -> str:
    """Say which notifications are to be sent at once."""
    return f"{len(done)} to be tried at once" + (f": {', '.join(map(str, done))}" if done else "")


def not_retried(wanted: Sequence[int], done: Sequence[int]) -> list[str]:
    """Say of each notification that was named but can't be sent again why that is."""
    refused = sorted(set(wanted) - set(done))
    return [f"{number}: no notification with this number is waiting or dead" for number in refused]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
