"""A page that lies open refreshes itself, and that doesn't keep anybody signed in."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import console_sessions
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.support import wait_for

POLL = {"HX-Request": "true", "X-Refresh": "poll"}
TEMPLATES = Path(__file__).resolve().parents[2] / "medfake_pacs" / "console" / "templates"


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console whose sessions end after three seconds without anybody."""
    with running_console(console_settings(tmp_path, database_url, {"console": {"session_idle_s": 3}})) as running:
        yield running


def _ends(client: httpx.Client) -> httpx.Response:
    """Refresh the worklist until the session has ended, and return the answer that says so."""
    wait_for(lambda: client.get("/worklist/rows", headers=POLL).status_code != 200, 30, "the session to end")
    return client.get("/worklist/rows", headers=POLL)


def test_a_worklist_that_lies_open_keeps_nobody_signed_in(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)
    assert client.get("/worklist").status_code == 200
    answer = _ends(client)
    assert answer.headers["hx-redirect"].startswith("/sign-in")
    assert client.get("/worklist").status_code == 303


def test_what_somebody_does_keeps_them_signed_in(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)

    def seen_ago(seconds: float) -> None:
        with transaction(console.engine) as connection:
            connection.execute(sa.update(console_sessions).values(last_seen_at=time.time() - seconds))

    def last_seen() -> float:
        with reading(console.engine) as connection:
            return float(connection.execute(sa.select(console_sessions.c.last_seen_at)).scalar_one())

    seen_ago(1)
    before = last_seen()
    assert client.get("/worklist/rows", headers=POLL).status_code == 200
    assert last_seen() == before
    assert client.get("/worklist/rows", headers={"HX-Request": "true"}).status_code == 200
    assert last_seen() > before


def test_each_element_that_refreshes_itself_says_so() -> None:
    elements = [
        (path.name, element)
        for path in TEMPLATES.rglob("*.html")
        for element in re.findall(r"<[a-z]+ [^<]*hx-trigger=\"every[^<]*", path.read_text())
    ]
    assert len(elements) >= 5
    for name, element in elements:
        assert """hx-headers='{"X-Refresh": "poll"}'""" in element, name
