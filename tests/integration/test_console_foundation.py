"""What every page of the console shares: signing in is asked for, headers are strict, other sites are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from medfake_pacs.console.security.permissions import Role
from tests.console_support import PASSWORD, ConsoleServer, console_settings, running_console


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        yield running


def test_a_page_sends_strangers_to_sign_in_and_back(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    client = console.anonymous()
    answer = client.get("/?x=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/%3Fx%3D1"
    form = {"user_name": "Anna", "password": PASSWORD, "next": "/account"}
    answer = client.post("/sign-in", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/account"


def test_every_answer_has_a_strict_policy(console: ConsoleServer) -> None:
    for path in ("/sign-in", "/static/console.css", "/nowhere"):
        policy = console.anonymous().get(path).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy


def test_another_site_can_not_act_for_a_signed_in_browser(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert client.post("/sign-out", headers=headers).status_code == 403
    assert client.post("/sign-out", headers={"Origin": console.url}).status_code == 303
