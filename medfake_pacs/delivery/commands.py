"""``medfake-pacs deliveries list``, ``deliveries retry``, ``deliveries dismiss`` and ``echo``."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from medfake_pacs.config import DestinationSettings, Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.existing import account_name, existing_engine
from medfake_pacs.database.tables import deliveries
from medfake_pacs.delivery.dead_letters import dismiss, retry
from medfake_pacs.delivery.echoing import try_echo
from medfake_pacs.delivery.listing import STATES, ListedDelivery, listing
from medfake_pacs.delivery.queue import circuit_of
from medfake_pacs.delivery.retrying import Circuit
from medfake_pacs.delivery.wording import (
    CIRCUIT_COLUMNS,
    DELIVERY_COLUMNS,
    address,
    attempt_cells,
    circuit_cells,
    delivery_cells,
    dismissed,
    not_dismissed,
    not_retried,
    retried,
    unknown_destination,
)

_FAILED = 1
_UNUSABLE = 2


def add_arguments(subparsers: Any) -> None:
    """Add ``deliveries`` and ``echo`` to the parsers of ``medfake-pacs``.

    The chosen one is left in ``args.run``: a function of the settings and the arguments.
    """
    queue = subparsers.add_parser("deliveries", help="the outgoing queue and the dead letters")
    commands = queue.add_subparsers(dest="deliveries_command", required=True)
    show = commands.add_parser("list", help="show what waits, what was sent and what was given up")
    show.add_argument("--state", choices=STATES, default="")
    show.add_argument("--destination", default="", help="name of a destination")
    show.add_argument("--study", default="", help="Study Instance UID")
    show.add_argument("--attempts", action="store_true", help="show each attempt, in order")
    show.add_argument("--format", choices=("table", "json"), default="table")
    show.set_defaults(run=run_list)
    again = commands.add_parser("retry", help="have deliveries tried at once, given-up ones included")
    again.add_argument("ids", nargs="*", type=int, metavar="ID", help="number of a delivery, from the list")
    again.add_argument("--dead", action="store_true", help="all that were given up")
    again.add_argument("--destination", default="", help="only those for this destination")
    again.set_defaults(run=run_retry)
    aside = commands.add_parser("dismiss", help="put dead letters aside that nobody is to be told of any more")
    aside.add_argument("ids", nargs="+", type=int, metavar="ID", help="number of a delivery, from the list")
    aside.set_defaults(run=run_dismiss)
    verification = subparsers.add_parser("echo", help="C-ECHO a configured destination")
    verification.add_argument("name", metavar="NAME", help="name of a destination")
    verification.set_defaults(run=run_echo)


def run_list(settings: Settings, args: argparse.Namespace) -> int:
    """Print the queue, and each destination's circuit."""
    with existing_engine(settings.database_url, deliveries, "queue") as engine:
        if engine is None:
            return _UNUSABLE
        with reading(engine) as connection:
            found = listing(
                connection,
                state=args.state,
                destination=args.destination,
                study=args.study,
                with_attempts=args.attempts,
            )
            rows = list(found)
            now = time.time()
            circuits = [
                (item, circuit_of(connection, item.name, item.retry, now))
                for item in settings.destinations
                if args.destination in ("", item.name)
            ]
    if args.format == "json":
        print(json.dumps(_document(rows, circuits), indent=2))
    else:
        _print_tables(rows, circuits, with_attempts=args.attempts)
    return 0


def run_retry(settings: Settings, args: argparse.Namespace) -> int:
    """Have deliveries tried at once; 1 if one that was named can't be."""
    if bool(args.ids) == args.dead:
        print("name deliveries by their numbers, or say --dead for all that were given up", file=sys.stderr)
        return _UNUSABLE
    with existing_engine(settings.database_url, deliveries, "queue") as engine:
        if engine is None:
            return _UNUSABLE
        with transaction(engine) as connection:
            done = retry(
                connection,
                args.ids or None,
                time.time(),
                who=account_name(),
                destination=args.destination or None,
                ae_titles={item.name: item.ae_title for item in settings.destinations},
            )
    print(retried(done))
    refused = not_retried(args.ids, done)
    for sentence in refused:
        print(sentence, file=sys.stderr)
    return _FAILED if refused else 0


def run_dismiss(settings: Settings, args: argparse.Namespace) -> int:
    """Dismiss dead letters; 1 if one that was named is none."""
    ae_titles = {item.name: item.ae_title for item in settings.destinations}
    with existing_engine(settings.database_url, deliveries, "queue") as engine:
        if engine is None:
            return _UNUSABLE
        with transaction(engine) as connection:
            done = dismiss(connection, args.ids, time.time(), who=account_name(), ae_titles=ae_titles)
    print(dismissed(done))
    refused = not_dismissed(args.ids, done)
    for sentence in refused:
        print(sentence, file=sys.stderr)
    return _FAILED if refused else 0


def run_echo(settings: Settings, args: argparse.Namespace) -> int:
    """Print whether a destination answers; 0 if it does, 1 with the reason if not."""
    found = [item for item in settings.destinations if item.name == args.name]
    if not found:
        print(unknown_destination(args.name, settings.destinations), file=sys.stderr)
        return _UNUSABLE
    outcome = try_echo(settings, found[0])
    print(outcome.text, file=sys.stdout if outcome.answered else sys.stderr)
    return 0 if outcome.answered else _FAILED


def _document(rows: Sequence[ListedDelivery], circuits: Sequence[tuple[DestinationSettings, Circuit]]) -> Any:
    return {
        "destinations": [
            {"name": item.name, "ae_title": item.ae_title, "address": address(item), **asdict(circuit)}
            for item, circuit in circuits
        ],
        "deliveries": [asdict(row) for row in rows],
    }


def _print_tables(
    rows: Sequence[ListedDelivery], circuits: Sequence[tuple[DestinationSettings, Circuit]], *, with_attempts: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 220, highlight=False)
    states = Table(*CIRCUIT_COLUMNS)
    for item, state in circuits:
        states.add_row(*circuit_cells(item, state))
    console.print(states)
    table = Table(*DELIVERY_COLUMNS)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in delivery_cells(row)), end_section=with_attempts)
        for attempt in row.history:
            table.add_row(*(Text(cell, overflow="fold") for cell in attempt_cells(attempt)))
    console.print(table)
