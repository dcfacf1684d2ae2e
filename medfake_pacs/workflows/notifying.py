"""Tell people and programs of verdicts: queue notifications with the verdict, send those that are due."""

import sqlalchemy as sa

from medfake_pacs.config import Settings
from medfake_pacs.entities import Verdict
from medfake_pacs.workflows.context import Context


def enqueue(connection: sa.Connection, settings: Settings, verdict: Verdict, now: float) -> None:
    """Queue a notification for every target that wants to know of such a verdict, in the caller's transaction."""


def send_due(context: Context) -> None:
    """Send every notification that is due."""
