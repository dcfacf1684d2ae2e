"""``medfake-pacs audit query`` and ``audit verify``. Reading the log is itself a fact that the log holds."""

import argparse
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from medfake_pacs.audit.chain import append
from medfake_pacs.audit.export import WRITERS
from medfake_pacs.audit.query import AuditFilter, moment, query
from medfake_pacs.audit.verify import Verification, verify
from medfake_pacs.config import Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.existing import account_name, existing_engine
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent, VerdictLabel
from medfake_pacs.errors import AuditError

_BROKEN = 1
_UNUSABLE = 2
_CONDITIONS = {
    "patient": "Patient ID",
    "accession": "Accession Number",
    "study": "Study Instance UID",
    "series": "Series Instance UID",
    "instance": "SOP Instance UID",
    "model": "name of a bundle, or the first six or more digits of its digest",
    "ae-title": "AE title of the peer",
    "kind": "kind of event, such as study-verdict or report-failed",
    "destination": "name of a destination",
}


def add_arguments(subparsers: Any) -> None:
    """Add ``audit`` with its two commands to the parsers of ``medfake-pacs``.

    The chosen one is left in ``args.run``: a function of the settings and the arguments.
    """
    audit = subparsers.add_parser("audit", help="search the log and prove that it is whole")
    commands = audit.add_subparsers(dest="audit_command", required=True)
    search = commands.add_parser("query", help="show the events that meet every condition")
    for name, text in _CONDITIONS.items():
        search.add_argument(f"--{name}", default="", help=text)
    search.add_argument("--verdict", type=_verdict, help=", ".join(VerdictLabel))
    search.add_argument("--since", type=_since, help="ISO date or time, UTC unless it says otherwise")
    search.add_argument("--until", type=_until, help="the same; a date includes its whole day")
    search.add_argument("--limit", type=_positive, help="show this many at most")
    search.add_argument("--format", choices=sorted(WRITERS), default="table")
    search.set_defaults(run=run_query)
    prove = commands.add_parser("verify", help="recompute the chain and compare it with the anchor file")
    prove.add_argument("--anchor", type=Path, help="an anchor file other than audit.anchor_file")
    prove.set_defaults(run=run_verify)


def run_query(settings: Settings, args: argparse.Namespace) -> int:
    """Record who searches for what, then print what is found."""
    names = [name.replace("-", "_") for name in (*_CONDITIONS, "verdict", "since", "until", "limit")]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    conditions = AuditFilter(**given)
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
        result = _verify(engine, anchor_file)
        if not result.ok:
            print(_broken(result))
            return _BROKEN
        facts = {"rows": result.rows, "head": result.head, "anchors": result.anchors, "warnings": result.warnings}
        _record(engine, "log-verified", {"result": "whole", **facts})
    print(f"the log is whole: {result.rows} rows, {result.anchors} anchors, head {result.head}")
    for warning in result.warnings:
        print(warning, file=sys.stderr)
    if not result.anchors and result.rows:
        where = f"no anchor in {anchor_file}" if anchor_file else "no anchor file (audit.anchor_file, --anchor)"
        print(f"{where}: a log that was cut off at its end would look whole", file=sys.stderr)
    return 0


def _verify(engine: sa.Engine, anchor_file: Path | None) -> Verification:
    result = None
    try:
        with reading(engine) as connection:
            result = verify(connection, anchor_file)
    except sa.exc.DatabaseError:
        # A damaged file can fail once more when the transaction ends.
        if result is None:
            raise
    return result


def _broken(result: Verification) -> str:
    where = "the log can't be verified" if result.first_broken_seq is None else (
        f"the log is broken at row {result.first_broken_seq}"
    )  # fmt: skip
    return f"{where}: {result.reason} ({result.rows} rows before it are whole)"


def _record(engine: sa.Engine, kind: str, facts: dict[str, Any]) -> None:
    with transaction(engine) as connection:
        append(connection, AuditEvent(kind=kind, payload={"who": account_name(), **facts}))


def _verdict(text: str) -> str:
    value = text.replace("-", " ").replace("_", " ").lower()
    if value not in list(VerdictLabel):
        raise argparse.ArgumentTypeError(f"{text!r} is no verdict; choose from {', '.join(VerdictLabel)}")
    return value


def _since(text: str) -> str:
    return _moment(text, end=False)


def _until(text: str) -> str:
    return _moment(text, end=True)


def _moment(text: str, *, end: bool) -> str:
    try:
        return moment(text, end=end)
    except AuditError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return value
