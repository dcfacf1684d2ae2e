"""The log in the console: what auditors search, open, save and export; who does so is in the log."""

import argparse
import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.audit.commands import add_arguments
from medfake_pacs.audit.conditions import CONDITIONS
from medfake_pacs.audit.export import CHECK_EXPORT, VIEW
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent
from tests.audit_log import tamper
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.support import REPOSITORY, wait_for

MODEL = "ab" * 32
DAY_S = 86_400.0


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console whose log has four days of events."""
    settings = console_settings(tmp_path, database_url, {"audit": {"anchor_file": str(tmp_path / "anchor")}})
    with running_console(settings) as running:
        with transaction(running.engine) as connection:
            for day, event in enumerate(_events()):
                audit.append(connection, event, occurred_at=day * DAY_S)
        yield running


def _events() -> list[AuditEvent]:
    return [
        AuditEvent(kind="instance-received", patient_id="P1", accession_number="A1", study_instance_uid="1.1",
                   series_instance_uid="1.1.1", sop_instance_uid="1.1.1.1", ae_title="CT1"),
        AuditEvent(kind="series-verdict", patient_id="P1", accession_number="A1", study_instance_uid="1.1",
                   verdict="fake", model_sha256=MODEL, payload={"model": "lung-ct", "probability": 0.9}),
        AuditEvent(kind="study-verdict", patient_id="<script>alert(1)</script>", study_instance_uid="1.2",
                   verdict="not assessed", payload={"reason": 'no route, "model":"lung-ct" looked like it'}),
        AuditEvent(kind="report-failed", patient_id="P1", study_instance_uid="1.1", ae_title="ARCHIVE",
                   sop_instance_uid="2.25.1", payload={"destination": "pacs", "sent_sop_instance_uid": "2.25.2"}),
    ]  # fmt: skip


def _seqs(answer: httpx.Response) -> list[int]:
    """Return the rows on a page."""
    assert answer.status_code == 200, answer.text
    return [int(seq) for seq in re.findall(r'<th scope="row" class="number"><a href="/log/(\d+)">', answer.text)]


def _events_of(console: ConsoleServer, kind: str) -> list[dict[str, object]]:
    with reading(console.engine) as connection:
        rows = audit.query(connection, audit.AuditFilter(kind=kind))
        return [json.loads(row.payload)["payload"] for row in rows]


def test_every_filter_finds_its_rows(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR)
    expected = {
        ("patient", "P1"): [4, 2, 1],
        ("patient", "P%"): [],
        ("accession", "A1"): [2, 1],
        ("study", "1.2"): [3],
        ("series", "1.1.1"): [1],
        ("instance", "1.1.1.1"): [1],
        ("instance", "2.25.2"): [4],
        ("verdict", "not assessed"): [3],
        ("model", "abababab"): [2],
        ("model", "lung-ct"): [2],
        ("model", "lung"): [],
        ("ae_title", "CT1"): [1],
        ("kind", "study-verdict"): [3],
        ("destination", "pacs"): [4],
        ("until", "1970-01-02"): [2, 1],
    }
    for (name, value), rows in expected.items():
        assert _seqs(auditor.get("/log", params={name: value})) == rows, (name, value)
    both = {"since": "1970-01-02", "until": "1970-01-03", "order": "oldest"}
    assert _seqs(auditor.get("/log", params=both)) == [2, 3]
    assert _seqs(auditor.get("/log", params={"patient": "P1", "verdict": "fake", "kind": "series-verdict"})) == [2]
    assert "no row that meets every condition" in auditor.get("/log", params={"patient": "nobody"}).text


def test_form_and_table_have_the_command_lines_words(console: ConsoleServer) -> None:
    page = console.signed_in(Role.AUDITOR).get("/log").text
    for condition in CONDITIONS:
        assert f'name="{condition.name}"' in page
        assert f"<dd>{condition.help}</dd>" in page
    assert re.findall(r'<th scope="col">(.*?)</th>', page) == list(VIEW[:-1])
    assert f"{VIEW[-1]}: </span>model=lung-ct probability=0.9</summary>" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_what_makes_no_sense_is_said_next_to_the_field(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR)
    answer = auditor.get("/log", params={"since": "yesterday", "patient": "P1", "until": "9999-12-31"})
    assert answer.status_code == 422
    words = "&#39;yesterday&#39; is no ISO date such as 2026-01-31 or 2026-01-31T08:00"
    assert f'<p class="wrong" id="error-since">{words}</p>' in answer.text
    assert 'value="yesterday"' in answer.text
    assert 'value="P1"' in answer.text
    assert auditor.get("/log", params={"verdict": "true"}).status_code == 422
    assert auditor.get("/log", params={"patient": "x" * 300}).status_code == 422
    assert auditor.get("/log", params={"cursor": "1-x"}).status_code == 422
    assert _events_of(console, "log-read") == []


def test_a_search_is_in_the_log_once_however_many_pages_are_looked_at(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        for number in range(120):
            audit.append(connection, AuditEvent(kind="instance-received", sop_instance_uid=f"1.{number}"))
    auditor = console.signed_in(Role.AUDITOR, name="ada")
    answer = auditor.get("/log", params={"kind": "instance-received"})
    seen = _seqs(answer)
    following = ""
    while match := re.search(r'href="(/log\?[^"]*)" rel="next"', answer.text):
        following = match[1].replace("&amp;", "&")
        answer = auditor.get(following)
        seen += _seqs(answer)
    assert seen == [*range(124, 4, -1), 1]
    [event] = _events_of(console, "log-read")
    assert event["who"] == "ada"
    assert event["filters"] == {"--kind": "instance-received"}
    assert event["dicom_event"] == {"code": "110101", "meaning": "Audit Log Used"}
    other = console.signed_in(Role.AUDITOR, name="bob")
    assert _seqs(other.get(following))
    assert _seqs(auditor.get(following.replace("instance-received", "study-verdict"))) in ([], [3])
    assert [each["who"] for each in _events_of(console, "log-read")] == ["ada", "bob", "ada"]


def test_a_row_has_an_address_and_says_whether_it_is_whole(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR)
    page = auditor.get("/log/2")
    assert page.status_code == 200
    assert "This row is as it was written" in page.text
    assert "&#34;probability&#34;: 0.9" in page.text
    assert [event["filters"] for event in _events_of(console, "log-read")] == [{"seq": 2}]
    for seq in ("99", "0", "-1", "9" * 30):
        assert auditor.get(f"/log/{seq}").status_code in {404, 422}, seq
    tamper(console.engine, "UPDATE audit_events SET payload = replace(payload, '0.9', '0.1') WHERE seq = 2")
    assert "it isn&#39;t as it was written" in auditor.get("/log/2").text


def test_searches_are_saved_opened_and_deleted_by_their_owner_alone(console: ConsoleServer) -> None:
    ada, bob = console.signed_in(Role.AUDITOR), console.signed_in(Role.AUDITOR)
    answer = ada.post("/log/searches", data={"query": "patient=P1&order=oldest", "name": "P1's rows"})
    assert answer.status_code == 303
    page = ada.get(answer.headers["location"])
    assert _seqs(page) == [1, 2, 4]
    assert "P1&#39;s rows" in page.text
    assert "P1&#39;s rows" not in bob.get("/log").text
    [address] = re.findall(r'action="(/log/searches/\d+/delete)"', page.text)
    assert bob.post(address).status_code == 404
    assert ada.post(f"/log/searches/{2**70}/delete").status_code == 422
    assert ada.post(address).status_code == 303
    assert "P1&#39;s rows" not in ada.get("/log").text
    wrong = ada.post("/log/searches", data={"query": "patient=P1", "name": " "})
    assert wrong.status_code == 422
    assert "Give the search a name." in wrong.text
    assert 'value="P1"' in wrong.text


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_is_what_the_command_line_writes(console: ConsoleServer, form: str) -> None:
    auditor = console.signed_in(Role.AUDITOR, name="ada")
    searches = ({"patient": "P1"}, {"until": "1970-01-09"}, {"model": "lung-ct"}, {"patient": "nobody"})
    for params in searches:
        words = [word for name, value in params.items() for word in (f"--{name}", value)]
        answer = auditor.get("/log/export", params={"format": form, **params})
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].endswith(f'.{form}"')
        assert answer.text == _command_line(console, "query", *words, "--format", form)
    events = _events_of(console, "log-exported")
    assert [event["who"] for event in events] == ["ada"] * 4
    assert events[0]["filters"] == {"--patient": "P1"}
    assert events[0]["format"] == form


def test_the_recipe_for_checking_an_export_tells_whole_rows_from_changed_ones(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR)
    text = auditor.get("/log/export", params={"format": "jsonl", "until": "1970-01-09"}).text
    assert _recipe(text) == ["whole"] * 4
    assert _recipe(text.replace("0.9", "0.1")) == ["whole", "CHANGED", "whole", "whole"]
    row = json.loads(text.splitlines()[0])
    event = text.splitlines()[0].removeprefix('{"event":').split(',"hash":"')[0]
    assert hashlib.sha256(f"{row['previous_hash']}\n{event}".encode()).hexdigest() == row["hash"]


def test_a_broken_off_export_leaves_the_database_usable(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        for number in range(3000):
            audit.append(connection, AuditEvent(kind="instance-received", payload={"text": "x" * 500, "n": number}))
    auditor = console.signed_in(Role.AUDITOR)
    with auditor.stream("GET", "/log/export?format=jsonl") as answer:
        next(answer.iter_raw())
        with transaction(console.engine) as connection:
            audit.append(connection, AuditEvent(kind="node-started"))
    assert auditor.get("/log", params={"kind": "node-started"}).status_code == 200


def test_a_check_says_what_the_command_line_says(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR, name="ada")
    assert "No check since the console started." in auditor.get("/log/verify").text
    assert "the log is whole: 4 rows, 0 anchors" in _checked(auditor)
    [event] = _events_of(console, "log-verified")
    assert (event["who"], event["rows"], event["result"]) == ("ada", 4, "whole")
    assert "no anchor in" in auditor.get("/log/verify").text
    tamper(console.engine, "UPDATE audit_events SET verdict = 'real' WHERE seq = 2")
    page = _checked(auditor)
    words = _command_line(console, "verify", code=1).strip()
    assert words.startswith("the log is broken at row 2: verdict of row 2")
    assert words.replace("'", "&#39;") in page
    assert 'href="/log/2"' in page
    assert len(_events_of(console, "log-verified")) == 1


def test_the_log_is_for_those_who_may_read_it(console: ConsoleServer) -> None:
    for client in (console.signed_in(Role.VIEWER), console.signed_in(Role.RADIOLOGIST)):
        for path in ("/log", "/log/1", "/log/export", "/log/verify", "/statistics"):
            assert client.get(path).status_code == 403, path
        assert client.post("/log/verify").status_code == 403
    with reading(console.engine) as connection:
        assert connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar_one() >= 4


def _checked(client: httpx.Client) -> str:
    """Start a check and return the page that says what it came to."""
    assert client.post("/log/verify").status_code == 303
    wait_for(lambda: "The check is running" not in client.get("/log/verify").text, 30, "the check to end")
    return client.get("/log/verify").text


def _command_line(console: ConsoleServer, *words: str, code: int = 0) -> str:
    parser = argparse.ArgumentParser()
    add_arguments(parser.add_subparsers())
    args = parser.parse_args(["audit", *words])
    output = io.StringIO()
    with redirect_stdout(output):
        assert args.run(console.settings, args) == code
    return output.getvalue()


def _recipe(text: str) -> list[str]:
    command = [sys.executable, "-c", CHECK_EXPORT]
    lines = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode().splitlines()
    return [line.split()[0] for line in lines]


def test_the_documentation_holds_the_recipe_that_works() -> None:
    assert f"```python\n{CHECK_EXPORT}```" in (REPOSITORY / "deploy/docs/operations.md").read_text()
