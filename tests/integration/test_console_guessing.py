"""Guessing names and passwords: it tells nothing, and makes wait."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import sign_in_failures
from medfake_pacs.database.tables import audit_events
from tests.console_support import PASSWORD, ConsoleServer, console_settings, running_console


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        yield running


def _post(client: httpx.Client, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    return client.post("/sign-in", data={"user_name": name, "password": password, **more})


def _log(console: ConsoleServer, kind: str) -> list[dict[str, Any]]:
    query = sa.select(audit_events.c.payload).where(audit_events.c.kind == kind).order_by(audit_events.c.seq)
    with reading(console.engine) as connection:
        return [json.loads(row.payload)["payload"] for row in connection.execute(query)]


def _whole_log(console: ConsoleServer) -> str:
    with reading(console.engine) as connection:
        return "\n".join(row.payload for row in connection.execute(sa.select(audit_events.c.payload)))


def _set(console: ConsoleServer, table: sa.Table, **values: Any) -> None:
    with transaction(console.engine) as connection:
        connection.execute(sa.update(table).values(values))


def _message(answer: httpx.Response) -> str:
    return " ".join(re.findall(r'class="message[^>]*>([^<]*)<', answer.text)).replace("&#39;", "'")


def test_the_answer_does_not_say_whether_an_account_exists(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    console.add_user("paul", Role.VIEWER, state="pending")
    pages = []
    for name in ("anna", "paul", "nobody", "x" * 5000, "a b'; --", "\u0430nna"):
        answer = _post(console.anonymous(), name, "wrong")
        assert answer.status_code == 401
        pages.append(_message(answer))
    assert set(pages) == {"Name or password is wrong."}
    assert [event["who"] for event in _log(console, "sign-in-refused")] == ["anna", "paul", "", "", "", ""]
    assert "wrong" not in _whole_log(console).replace("wrong name or password", "")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_unknown_name_takes_as_long_as_a_known_one(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    client = console.anonymous()
    _post(client, "warming-up", "wrong")
    times: dict[str, list[float]] = {"anna": [], "nobody": []}
    for _ in range(4):
        for name, found in times.items():
            before = time.perf_counter()
            _post(client, name, "wrong")
            found.append(time.perf_counter() - before)
    # Without the hash it would be about a tenth of it.
    assert min(times["nobody"]) > min(times["anna"]) / 3


def test_guessing_makes_wait_and_the_right_password_too(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    client = console.anonymous()
    answers = [_post(client, "anna", f"guess {i}") for i in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert re.search(r"Try again at \d\d:\d\d:\d\dZ, in 1 min\.", _message(answers[-1]))
    refused = _post(client, "anna")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "Too many wrong passwords" in _message(refused)
    assert 'value="anna"' in refused.text
    [event] = _log(console, "sign-in-throttled")
    assert event["who"] == "anna"
    assert event["dicom_event"]["code"] == "110113"
    _set(console, sign_in_failures, failed_at=time.time() - 61)
    assert _post(client, "anna", "guess").status_code == 401
    assert 60 < int(_post(client, "anna").headers["retry-after"]) <= 120
    _set(console, sign_in_failures, failed_at=time.time() - 121)
    assert _post(client, "anna").status_code == 303
    with reading(console.engine) as connection:
        assert connection.execute(sa.select(sign_in_failures)).all() == []
    assert "guess" not in _whole_log(console)


def test_unknown_names_are_counted_alike(console: ConsoleServer) -> None:
    client = console.anonymous()
    assert [_post(client, "nobody", "wrong").status_code for _ in range(6)] == [401] * 5 + [429]
    # What was typed may be a password.
    with reading(console.engine) as connection:
        assert "nobody" not in str(connection.execute(sa.select(sign_in_failures)).all())


def test_a_host_that_tries_many_names_waits(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    client = console.anonymous()
    now = time.time()
    rows = [{"action": "sign-in", "name_sha256": f"{i:064x}", "host": "127.0.0.1", "failed_at": now} for i in range(20)]
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(sign_in_failures), rows)
    assert _post(client, "anna").status_code == 429
    _set(console, sign_in_failures, host="10.0.0.9")
    assert _post(client, "anna").status_code == 303


def test_many_attempts_at_once_are_no_way_around(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    clients = [console.anonymous() for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda client: _post(client, "anna", "wrong").status_code, clients))
    assert sorted(statuses) == [401] * 5 + [429] * 7
