"""``medfake-pacs deliveries list``, ``deliveries retry`` and ``echo``."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from medfake_pacs.config import DestinationSettings, Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.existing import account_name, existing_engine
from medfake_pacs.database.tables import deliveries
from medfake_pacs.delivery.listing import Attempt, ListedDelivery, listing
from medfake_pacs.delivery.queue import DEAD, SENT, WAITING, circuit_of, retry
from medfake_pacs.delivery.retrying import Circuit, CircuitState
from medfake_pacs.delivery.tls import client_context
from medfake_pacs.delivery.verification_scu import echo
from medfake_pacs.errors import DeliveryError

_FAILED = 1
_UNUSABLE = 2


def add_arguments(subparsers: Any) -> None:
    """Add ``deliveries`` and ``echo`` to the parsers of ``medfake-pacs``.

    The chosen one is left in ``args.run``: a function of the settings and the arguments.
    """
    queue = subparsers.add_parser("deliveries", help="the outgoing queue and the dead letters")
    commands = queue.add_subparsers(dest="deliveries_command", required=True)
    show = commands.add_parser("list", help="show what waits, what was sent and what was given up")
    show.add_argument("--state", choices=(WAITING, SENT, DEAD), default="")
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
    print(f"{len(done)} to be tried at once" + (f": {', '.join(map(str, done))}" if done else ""))
    refused = sorted(set(args.ids) - set(done))
    for delivery_id in refused:
        print(f"{delivery_id}: no delivery with this number is waiting or dead", file=sys.stderr)
    return _FAILED if refused else 0


def run_echo(settings: Settings, args: argparse.Namespace) -> int:
    """Print whether a destination answers; 0 if it does, 1 with the reason if not."""
    found = [item for item in settings.destinations if item.name == args.name]
    if not found:
        known = ", ".join(item.name for item in settings.destinations) or "none"
        print(f"no destination is named {args.name!r}; known: {known}", file=sys.stderr)
        return _UNUSABLE
    destination = found[0]
    started = time.monotonic()
    try:
        echo(destination, settings.node.ae_title, client_context(settings.tls) if destination.tls else None)
    except DeliveryError as error:
        print(f"{destination.name}: {error}", file=sys.stderr)
        return _FAILED
    elapsed_ms = (time.monotonic() - started) * 1000
    print(f"{destination.name}: {destination.ae_title} at {_address(destination)} answered in {elapsed_ms:.0f} ms")
    return 0


def _document(rows: Sequence[ListedDelivery], circuits: Sequence[tuple[DestinationSettings, Circuit]]) -> Any:
    return {
        "destinations": [
            {"name": item.name, "ae_title": item.ae_title, "address": _address(item), **asdict(circuit)}
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
    states = Table("destination", "AE title", "address", "circuit", "failures in a row", "next probe")
    for item, state in circuits:
        probe = "" if state.state is CircuitState.CLOSED else _time(state.probe_at)
        states.add_row(item.name, item.ae_title, _address(item), state.state, str(state.failures), probe)
    console.print(states)
    table = Table("ID", "study", "report", "destination", "state", "attempts", "when", "status", "comment")
    for row in rows:
        when = f"next {_time(row.next_attempt_at)}" if row.state == WAITING else _time(row.finished_at)
        cells = (
            str(row.delivery_id), row.study_instance_uid, row.report_uid, row.destination, row.state,
            str(row.attempts), when, _status(row.last_status), row.last_comment,
        )  # fmt: skip
        table.add_row(*(Text(_printable(cell), overflow="fold") for cell in cells), end_section=with_attempts)
        for attempt in row.history:
            table.add_row(*(Text(_printable(cell), overflow="fold") for cell in _attempt_cells(attempt)))
    console.print(table)


def _attempt_cells(attempt: Attempt) -> tuple[str, ...]:
    outcome = "sent" if attempt.succeeded else "failed"
    return (
        "", "", attempt.sent_sop_instance_uid, "", outcome, f"no. {attempt.number}", _time(attempt.attempted_at),
        _status(attempt.status), attempt.comment,
    )  # fmt: skip


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _status(status: int | None) -> str:
    return "" if status is None else f"0x{status:04X}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _address(destination: DestinationSettings) -> str:
    return f"{destination.host}:{destination.port}{' (TLS)' if destination.tls else ''}"
