"""Write what a query found: a table to read, JSON Lines that can be checked, CSV for a spreadsheet."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TextIO

from medfake_pacs.audit.canonical import canonical_json
from medfake_pacs.audit.rows import AuditRow

_ROWS_PER_TABLE = 500
# The headings of a table of rows, here and in the console.
VIEW = (
    "seq", "time", "kind", "patient ID", "accession number", "study", "verdict", "AE title", "model", "text",
)  # fmt: skip
_CSV_COLUMNS = (
    "seq", "occurred_at", "kind", "patient_id", "accession_number", "study_instance_uid", "series_instance_uid",
    "sop_instance_uid", "verdict", "ae_title", "model_sha256", "text", "previous_hash", "hash",
)  # fmt: skip
# A spreadsheet takes a cell that starts so for a formula, and a patient ID comes from anyone.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_DIGEST_SHOWN = 12


def write_jsonl(rows: Iterable[AuditRow], stream: TextIO) -> None:
    """Write a line for each row: ``event`` is its payload as stored, with its hash and the one before it.

    SHA-256 of ``previous_hash``, a newline and the text of ``event`` is ``hash``.
    """
    for row in rows:
        event = row.payload if _is_json(row.payload) else json.dumps(row.payload)
        stream.write(f'{{"event":{event},"hash":"{row.hash}","previous_hash":"{row.previous_hash}"}}\n')


def write_csv(rows: Iterable[AuditRow], stream: TextIO) -> None:
    """Write a heading and a line for each row; nothing in it can be taken for a formula."""
    csv.writer(stream, lineterminator="\n").writerow(_CSV_COLUMNS)
    _write_csv_rows(rows, stream)


def pieces(batches: Iterable[Iterable[AuditRow]], form: str) -> Iterator[str]:
    """Yield what ``write_csv`` or ``write_jsonl`` would write of all the rows, a batch at a time."""
    write = {"csv": _write_csv_rows, "jsonl": write_jsonl}[form]
    if form == "csv":
        heading = io.StringIO()
        write_csv((), heading)
        yield heading.getvalue()
    for rows in batches:
        stream = io.StringIO()
        write(rows, stream)
        yield stream.getvalue()


def _write_csv_rows(rows: Iterable[AuditRow], stream: TextIO) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        cells = [_text(row) if name == "text" else getattr(row, name) for name in _CSV_COLUMNS]
        writer.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in cells])


def write_table(rows: Iterable[AuditRow], stream: TextIO) -> None:
    """Write the rows as tables of at most 500 rows, so that a long answer starts at once."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, width=None if stream.isatty() else 240, highlight=False)
    remaining = iter(rows)
    chunk = list(islice(remaining, _ROWS_PER_TABLE))
    if not chunk:
        stream.write("no rows\n")
    while chunk:
        table = Table()
        for name in VIEW:
            table.add_column(name, overflow="fold")
        for row in chunk:
            table.add_row(*(Text(cell) for cell in view(row)))
        console.print(table)
        chunk = list(islice(remaining, _ROWS_PER_TABLE))


# How anyone checks a JSONL export without the node; in the documentation and shown by the console.
CHECK_EXPORT = """\
import hashlib, json, sys
for line in sys.stdin.buffer:
    row = json.loads(line)
    event = line[len(b'{"event":'):line.rindex(b',"hash":"')]
    digest = hashlib.sha256(row["previous_hash"].encode() + b"\\n" + event).hexdigest()
    print("whole" if digest == row["hash"] else "CHANGED", row["hash"])
"""

WRITERS: Mapping[str, Callable[[Iterable[AuditRow], TextIO], None]] = {
    "table": write_table,
    "jsonl": write_jsonl,
    "csv": write_csv,
}


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped: what peers sent must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def view(row: AuditRow) -> list[str]:
    """Return a row's cells under the headings of ``VIEW``."""
    cells = [
        str(row.seq),
        row.occurred_at,
        row.kind,
        row.patient_id,
        row.accession_number,
        row.study_instance_uid,
        row.verdict,
        row.ae_title,
        row.model_sha256[:_DIGEST_SHOWN],
        _text(row),
    ]
    return [printable(cell) for cell in cells]


def _text(row: AuditRow) -> str:
    """Say the event's own facts in one line: ``key=value``, in order of the keys."""
    if not _is_json(row.payload):
        return row.payload
    document = json.loads(row.payload)
    facts = document.get("payload") if isinstance(document, dict) else document
    if not isinstance(facts, dict):
        return canonical_json(facts)
    return " ".join(f"{key}={_shown(value)}" for key, value in facts.items() if value not in (None, ""))


def _shown(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"code", "meaning"}:
        return f"{value['code']} {value['meaning']}"
    return value if isinstance(value, str) else canonical_json(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _harmless(cell: str) -> str:
    cell = f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    return printable(cell)
