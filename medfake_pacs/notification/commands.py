"""``medfake-pacs notifications list``, ``notifications retry`` and ``notifications test``."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from medfake_pacs.config import Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import notifications
from medfake_pacs.database.existing import account_name, existing_engine
from medfake_pacs.notification.listing import ListedNotification, listing
from medfake_pacs.notification.queue import STATES, retry
from medfake_pacs.notification.wording import NOTIFICATION_COLUMNS, not_retried, notification_cells, retried

_FAILED = 1
_UNUSABLE = 2


def add_arguments(subparsers: Any) -> None:
    """Add ``notifications`` to the parsers of ``medfake-pacs``.

    The chosen one is left in ``args.run``: a function of the settings and the arguments.
    """
    group = subparsers.add_parser("notifications", help="who was told of verdicts, and who couldn't be")
    commands = group.add_subparsers(dest="notifications_command", required=True)
    show = commands.add_parser("list", help="show what waits, what was sent and what was given up, newest first")
    show.add_argument("--state", choices=STATES, default="")
    show.add_argument("--target", default="", help="name of a notification in the configuration")
    show.add_argument("--study", default="", help="Study Instance UID")
    show.add_argument("--limit", type=int, default=1000, metavar="N", help="at most so many (default: 1000)")
    show.add_argument("--format", choices=("table", "json"), default="table")
    show.set_defaults(run=run_list)
    again = commands.add_parser("retry", help="have notifications sent at once, given-up ones included")
    again.add_argument("ids", nargs="*", type=int, metavar="ID", help="number of a notification, from the list")
    again.add_argument("--dead", action="store_true", help="all that were given up")
    again.add_argument("--target", default="", help="only those for this target")
    again.set_defaults(run=run_retry)
    test = commands.add_parser("test", help="send a sample to one target, and print what comes of it")
    test.add_argument("name", metavar="NAME", help="name of a notification in the configuration")
    test.set_defaults(run=run_test)


def run_list(settings: Settings, args: argparse.Namespace) -> int:
    """Print the notifications."""
    with existing_engine(settings.database_url, notifications, "queue of notifications") as engine:
        if engine is None:
            return _UNUSABLE
        with reading(engine) as connection:
            found = listing(connection, state=args.state, target=args.target, study=args.study, limit=args.limit)
            rows = list(found)
    if args.format == "json":
        print(json.dumps({"notifications": [asdict(row) for row in rows]}, indent=2))
    else:
        _print_table(rows)
    return 0


def run_retry(settings: Settings, args: argparse.Namespace) -> int:
    """Have notifications sent at once; 1 if one that was named can't be."""
    if bool(args.ids) == args.dead:
        print("name notifications by their numbers, or say --dead for all that were given up", file=sys.stderr)
        return _UNUSABLE
    with existing_engine(settings.database_url, notifications, "queue of notifications") as engine:
        if engine is None:
            return _UNUSABLE
        with transaction(engine) as connection:
            done = retry(connection, args.ids or None, time.time(), who=account_name(), target=args.target)
    print(retried(done))
    refused = not_retried(args.ids, done)
    for text in refused:
        print(text, file=sys.stderr)
    return _FAILED if refused else 0


def run_test(settings: Settings, args: argparse.Namespace) -> int:
    """Send a sample to a target and print the outcome; 1 if it wasn't taken."""
    from medfake_pacs.notification.notice import sample_notice
    from medfake_pacs.notification.sending import send

    target = next((item for item in settings.notifications if item.name == args.name), None)
    if target is None:
        known = ", ".join(item.name for item in settings.notifications) or "none"
        print(f"no notification is named {args.name!r}; known: {known}", file=sys.stderr)
        return _UNUSABLE
    notice = sample_notice(target.name, settings.console.url, event_id=f"test-{time.time_ns()}")
    outcome = send(target, settings.smtp, notice)
    if not outcome.succeeded:
        print(f"{target.name}: {outcome.comment}", file=sys.stderr)
        return _FAILED
    print(f"{target.name}: taken" + (f" ({outcome.comment})" if outcome.comment else ""))
    return 0


def _print_table(rows: Sequence[ListedNotification]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*NOTIFICATION_COLUMNS)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in notification_cells(row)))
    Console(width=None if sys.stdout.isatty() else 220, highlight=False).print(table)
