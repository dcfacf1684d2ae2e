"""Assess uploaded images: the checks that the console recorded."""

import threading

from medfake_pacs.workflows.context import Context


def run_waiting(context: Context, stopping: threading.Event) -> None:
    """Assess every check that waits, oldest first, until there is none or the worker is ``stopping``."""
