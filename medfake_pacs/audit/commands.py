"""``medfake-pacs audit query`` and ``audit verify``. Reading the log is itself a fact that the log holds."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from medfake_pacs.audit.chain import append
from medfake_pacs.audit.conditions import CONDITIONS, read_condition, read_limit
from medfake_pacs.audit.export import WRITERS
from medfake_pacs.audit.outcome import KIND, facts, outcome, remarks
from medfake_pacs.audit.query import AuditFilter, query
from medfake_pacs.audit.verify import verify_database
from medfake_pacs.config import Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.existing import account_name, existing_engine
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent
from medfake_pacs.errors import AuditError

_BROKEN = 1
_UNUSABLE = 2


def add_arguments(subparsers: Any) -> None:
    """Add ``audit`` with its two commands to the parsers of ``medfake-pacs``.

    The chosen one is left in ``args.run``: a function of the settings and the arguments.
    """
    audit = subparsers.add_parser("audit", help="search the log and prove that it is whole")
    commands = audit.add_subparsers(dest="audit_command", required=True)
    search = commands.add_parser("query", help="show the events that meet every condition")
    for condition in CONDITIONS:
        reader = _reader(partial(read_condition, condition.name))
        search.add_argument(f"--{condition.option}", type=reader, help=condition.help)
    search.add_argument("--limit", type=_reader(read_limit), help="show this many at most")
    search.add_argument("--format", choices=sorted(WRITERS), default="table")
    search.set_defaults(run=run_query)
    prove = commands.add_parser("verify", help="recompute the chain and compare it with the anchor file")
    prove.add_argument("--anchor", type=Path, help="an anchor file other than audit.anchor_file")
    prove.set_defaults(run=run_verify)


def run_query(settings: Settings, args: argparse.Namespace) -> int:
    """Record who searches for what, then print what is found."""
    conditions = AuditFilter(**{each.name: getattr(args, each.name) or "" for each in CONDITIONS}, limit=args.limit)
    with existing_engine(settings.database_url, audit_events, "log") as engine:
        if engine is None:
            return _UNUSABLE
        _record(engine, "log-read", {"filters": conditions.as_facts(), "format": args.format})
        try:
            with reading(engine) as connection, closing(query(connection, conditions)) as rows:
                WRITERS[args.format](rows, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough (`| head`); the interpreter must not complain of it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def run_verify(settings: Settings, args: argparse.Namespace) -> int:
    """Print whether the log is whole; 0 if it is, 1 if not. The result is recorded only in a whole log."""
    anchor_file = args.anchor or settings.anchor_file
    with existing_engine(settings.database_url, audit_events, "log") as engine:
        if engine is None:
            return _UNUSABLE
        result = verify_database(engine, anchor_file)
        print(outcome(result))
        if not result.ok:
            return _BROKEN
        _record(engine, KIND, facts(result))
    for remark in remarks(result, anchor_file):
        print(remark, file=sys.stderr)
    return 0


def _record(engine: sa.Engine, kind: str, facts: dict[str, Any]) -> None:
    with transaction(engine) as connection:
        append(connection, AuditEvent(kind=kind, payload={"who": account_name(), **facts}))


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return ``read`` as argparse wants it: what it refuses is said next to the option."""

    def reader(text: str) -> Any:
        try:
            return read(text)
        except AuditError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reader
