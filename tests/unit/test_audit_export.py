"""Exports of the log: what can be checked, and what can't harm who opens it."""

import csv
import hashlib
import io
import json

import pytest

from medfake_pacs.audit.canonical import canonical_json
from medfake_pacs.audit.export import write_csv, write_jsonl, write_table
from medfake_pacs.audit.query import AuditRow, moment
from medfake_pacs.errors import AuditError


def _row(patient_id: str = "P1", **facts: object) -> AuditRow:
    columns = {
        "seq": 7,
        "occurred_at": "2026-01-31T08:00:00.000000Z",
        "kind": "study-verdict",
        "study_instance_uid": "1.2.3",
        "series_instance_uid": "",
        "sop_instance_uid": "",
        "patient_id": patient_id,
        "accession_number": "A1",
        "ae_title": "PACS1",
        "verdict": "fake",
        "model_sha256": "ab" * 32,
    }
    payload = canonical_json({**columns, "payload": facts})
    previous = "0" * 64
    digest = hashlib.sha256(f"{previous}\n{payload}".encode()).hexdigest()
    return AuditRow(**columns, payload=payload, previous_hash=previous, hash=digest)


def test_a_line_of_jsonl_can_be_checked_without_the_node() -> None:
    stream = io.StringIO()
    write_jsonl([_row("Ünïcode\x1b", probability=1e-6)], stream)
    line = stream.getvalue()
    document = json.loads(line)
    event = line[len('{"event":') : line.index(',"hash":')]
    assert hashlib.sha256(f"{document['previous_hash']}\n{event}".encode()).hexdigest() == document["hash"]
    assert document["event"]["payload"]["probability"] == 1e-6


def test_a_damaged_payload_is_still_exported_as_json() -> None:
    stream = io.StringIO()
    row = _row()
    damaged = AuditRow(**{name: getattr(row, name) for name in AuditRow.__slots__} | {"payload": "{oops"})
    write_jsonl([damaged], stream)
    assert json.loads(stream.getvalue())["event"] == "{oops"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_csv_is_a_formula(start: str) -> None:
    stream = io.StringIO()
    write_csv([_row(f"{start}HYPERLINK(1)")], stream)
    [row] = csv.DictReader(io.StringIO(stream.getvalue()))
    assert row["patient_id"].startswith("'")
    assert row["patient_id"].endswith("HYPERLINK(1)")
    assert row["hash"] == _row(f"{start}HYPERLINK(1)").hash


def test_a_patient_id_cannot_drive_the_terminal() -> None:
    for writer in (write_csv, write_table):
        stream = io.StringIO()
        writer([_row("\x1b]0;owned\x07[bold]x[/bold]")], stream)
        assert "\x1b" not in stream.getvalue()
        assert "\x07" not in stream.getvalue()
        assert "[bold]" in stream.getvalue()


def test_the_table_shows_what_an_auditor_looks_for() -> None:
    stream = io.StringIO()
    write_table([_row(reason="2 of 40 images")], stream)
    text = stream.getvalue()
    for word in ("7", "study-verdict", "P1", "A1", "1.2.3", "fake", "PACS1", "abababababab", "reason=2 of 40 images"):
        assert word in text


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("2026-01-31", False, "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31", True, "2026-02-01T00:00:00.000000Z"),
        ("2026-01-31T08:30", False, "2026-01-31T08:30:00.000000Z"),
        ("2026-01-31T08:30:00+02:00", True, "2026-01-31T06:30:00.000000Z"),
        ("2026-01-31T08:30:00.5Z", False, "2026-01-31T08:30:00.500000Z"),
    ],
)
def test_dates_become_moments(text: str, end: bool, expected: str) -> None:
    assert moment(text, end=end) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "31.01.2026"])
def test_no_date_is_refused(text: str) -> None:
    with pytest.raises(AuditError, match="no ISO date"):
        moment(text)
