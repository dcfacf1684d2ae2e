"""The log over the REST API."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from medfake_pacs import audit
from medfake_pacs.console import log_check
from medfake_pacs.console.security.permissions import Permission, Role
from medfake_pacs.database import transaction
from medfake_pacs.entities import AuditEvent
from tests.audit_log import fill, tamper
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.support import wait_for


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console with six rows in its log."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        fill(running.engine)
        yield running


def test_pages_hold_every_row_once_with_what_its_hash_covers(console: ConsoleServer) -> None:
    client = console.with_token(Role.AUDITOR)
    rows, cursor = [], ""
    while cursor is not None:
        answer = client.get("/api/log", params={"patient": "P1", "limit": 4, "order": "oldest", "cursor": cursor})
        assert answer.status_code == 200, answer.text
        rows += answer.json()["rows"]
        cursor = answer.json()["next_cursor"]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        assert hashlib.sha256(f"{row['previous_hash']}\n{row['payload']}".encode()).hexdigest() == row["hash"]
        assert row["event"]["payload"]["number"] == row["seq"]
    [event] = client.get("/api/log", params={"kind": "log-read", "order": "oldest", "limit": 1}).json()["rows"]
    assert event["event"]["payload"]["filters"] == {"--patient": "P1"}
    assert event["event"]["payload"]["via"] == "token"


def test_what_makes_no_sense_is_a_problem_that_names_the_field(console: ConsoleServer) -> None:
    client = console.with_token(Role.AUDITOR)
    for name, value in (("since", "yesterday"), ("verdict", "true"), ("limit", "0"), ("cursor", "x"), ("order", "up")):
        answer = client.get("/api/log", params={name: value})
        assert answer.status_code == 422, (name, value)
        assert answer.headers["content-type"] == "application/problem+json"
        assert name in answer.json()["fields"]
    assert client.get("/api/log/99").status_code == 404
    assert client.get("/api/log/export", params={"until": "never"}).status_code == 422


def test_a_row_and_an_export(console: ConsoleServer) -> None:
    client = console.with_token(Role.AUDITOR)
    row = client.get("/api/log/3").json()
    assert row["kind"] == "study-verdict"
    lines = client.get("/api/log/export", params={"kind": "study-verdict"}).text.splitlines()
    assert [json.loads(line)["hash"] for line in lines][2] == row["hash"]
    assert len(lines) == 6


def test_a_check_runs_aside_and_names_the_first_broken_row(console: ConsoleServer) -> None:
    client = console.with_token(Role.AUDITOR)
    assert client.get("/api/log/verify").json()["state"] == "never"

    def checked() -> dict[str, object]:
        answer = client.post("/api/log/verify")
        assert answer.status_code == 202
        where = answer.headers["location"]
        wait_for(lambda: client.get(where).json()["state"] != "running", 30, "the check to end")
        found: dict[str, object] = client.get(where).json()
        return found

    assert checked()["state"] == "whole"
    tamper(console.engine, "UPDATE audit_events SET patient_id = 'P2' WHERE seq = 4")
    found = checked()
    assert (found["state"], found["first_broken_seq"]) == ("broken", 4)
    assert str(found["text"]).startswith("the log is broken at row 4: patient_id of row 4 isn't")


def test_a_token_without_the_scope_reads_nothing(console: ConsoleServer) -> None:
    client = console.with_token(Role.AUDITOR, scopes=[Permission.STUDIES_READ])
    for path in ("/api/log", "/api/log/1", "/api/log/export", "/api/log/verify", "/api/statistics"):
        assert client.get(path).status_code == 403, path
    assert client.post("/api/log/verify").status_code == 403


def test_work_is_bounded_where_few_rows_meet_two_conditions(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        for number in range(5_500):
            kind, verdict = ("series-verdict", "fake") if number else ("study-verdict", "real")
            audit.append(connection, AuditEvent(kind=kind, verdict=verdict))
    client = console.with_token(Role.AUDITOR)
    first = client.get("/api/log", params={"kind": "study-verdict", "verdict": "real"}).json()
    assert [row["seq"] for row in first["rows"]] == [7]
    answer = client.get("/api/log", params={"kind": "study-verdict", "verdict": "fake", "limit": 3}).json()
    assert answer["rows"] == []
    assert answer["looked_at_enough"] is True
    params = {"kind": "study-verdict", "verdict": "fake", "limit": 3, "cursor": answer["next_cursor"]}
    assert [row["seq"] for row in client.get("/api/log", params=params).json()["rows"]] == [6, 5, 4]


def test_what_is_nested_without_end_breaks_no_check(tmp_path: Path) -> None:
    anchors = tmp_path / "anchors"
    with running_console(console_settings(tmp_path, "", {"audit": {"anchor_file": str(anchors)}})) as console:
        fill(console.engine)
        client = console.with_token(Role.AUDITOR)

        def checked() -> tuple[object, object]:
            client.post("/api/log/verify")
            wait_for(lambda: client.get("/api/log/verify").json()["state"] != "running", 30, "the check to end")
            found = client.get("/api/log/verify").json()
            return found["state"], found["text"]

        anchors.write_bytes(b"[" * 200_000 + b"\n")
        state, text = checked()
        assert state == "broken"
        assert "line 1 of the anchor file isn't an anchor" in str(text)
        anchors.unlink()
        assert checked()[0] == "whole"
        previous = client.get("/api/log/1").json()["previous_hash"]
        payload = "[" * 200_000
        digest = hashlib.sha256(f"{previous}\n{payload}".encode()).hexdigest()
        tamper(console.engine, f"UPDATE audit_events SET payload = '{payload}', hash = '{digest}' WHERE seq = 1")
        state, text = checked()
        assert state == "broken"
        assert "the payload of row 1 isn't JSON" in str(text)


def test_a_check_that_breaks_off_does_not_run_for_ever(console: ConsoleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(log_check, "verify_database", broken)
    client = console.with_token(Role.AUDITOR)
    client.post("/api/log/verify")
    wait_for(lambda: client.get("/api/log/verify").json()["state"] != "running", 30, "the check to end")
    found = client.get("/api/log/verify").json()
    assert found["state"] == "stopped"
    assert "broke off" in found["text"]
