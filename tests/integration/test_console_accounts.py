"""Signing in, guessing passwords, sessions, one's own password and tokens: as a browser sees them."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from medfake_pacs.console.security.permissions import Permission, Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import api_tokens, console_sessions, users
from medfake_pacs.database.tables import audit_events
from tests.console_support import PASSWORD, ConsoleServer, console_settings, running_console

NEW_PASSWORD = "seven violet kestrels asleep"
COOKIE = "medfake-session"


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


def _wrong(answer: httpx.Response) -> list[str]:
    return re.findall(r'id="error-([a-z_]+)"', answer.text)


def test_the_session_is_kept_in_a_careful_cookie_and_ends_with_signing_out(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    client = console.anonymous()
    answer = _post(client, " Anna ", next="/account")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/", "max-age=43200"))
    assert "domain" not in cookie
    secret = client.cookies[COOKIE]
    assert client.get("/account").status_code == 200
    assert client.post("/sign-out").headers["location"].startswith("/sign-in")
    client.cookies.set(COOKIE, secret)
    assert client.get("/account").status_code == 303
    [event] = _log(console, "signed-in")
    assert event["who"] == "anna"
    assert event["host"] == "127.0.0.1"
    assert event["dicom_event"]["code"] == "110114"
    assert event["dicom_event_type"]["code"] == "110122"
    assert _log(console, "signed-out")[0]["dicom_event_type"]["code"] == "110123"
    with reading(console.engine) as connection:
        assert secret not in str(connection.execute(sa.select(console_sessions)).all())


def test_over_tls_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    settings = console_settings(tmp_path, extra={"console": {"public_url": "https://pacs.example"}})
    with running_console(settings) as console:
        console.add_user("anna", Role.VIEWER)
        client = console.anonymous()
        answer = _post(client, "anna")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-medfake-session=")
        assert "Secure" in cookie
        assert answer.headers["strict-transport-security"]
        secret = cookie.partition("=")[2].partition(";")[0]
        answer = client.post("/sign-out", headers={"Cookie": f"__Host-medfake-session={secret}"})
        # Browsers take nothing under this prefix without Secure, so that the cookie would stay.
        assert "Secure" in answer.headers["set-cookie"]


def test_signing_in_again_replaces_the_session_of_this_browser(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    client, planted = console.anonymous(), "chosen-by-somebody-else"
    client.cookies.set(COOKIE, planted)
    secret = _post(client, "anna").cookies[COOKIE]
    assert secret != planted
    client.cookies.clear()
    client.cookies.set(COOKIE, secret)
    again = _post(client, "anna").cookies[COOKIE]
    for cookie, status in ((secret, 303), (again, 200)):
        assert console.anonymous().get("/account", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == status


@pytest.mark.parametrize(("state", "word"), [("pending", "waits"), ("disabled", "disabled")])
def test_why_an_account_stays_out_is_said_to_its_owner_only(console: ConsoleServer, state: str, word: str) -> None:
    console.add_user("anna", Role.VIEWER, state=state)
    client = console.anonymous()
    assert word not in _message(_post(client, "anna", "wrong"))
    answer = _post(client, "anna")
    assert answer.status_code == 403
    assert word in _message(answer)
    assert COOKIE not in client.cookies


def test_sessions_end_when_idle_and_in_any_case(console: ConsoleServer) -> None:
    client, other = console.signed_in(Role.VIEWER, name="anna"), console.signed_in(Role.VIEWER)
    now = time.time()
    _set(console, console_sessions, last_seen_at=now - 3500)
    assert client.get("/account").status_code == 200
    _set(console, console_sessions, last_seen_at=now - 3601)
    assert client.get("/account").status_code == 303
    _set(console, console_sessions, last_seen_at=now, expires_at=now - 1)
    assert other.get("/account").status_code == 303
    _post(console.anonymous(), "anna", PASSWORD)
    with reading(console.engine) as connection:
        assert len(connection.execute(sa.select(console_sessions)).all()) == 1


def test_one_sees_where_one_is_signed_in_and_ends_it(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    first, second, third = (console.anonymous() for _ in range(3))
    first.headers["User-Agent"] = "<script>alert(1)</script>"
    for client in (first, second, third):
        _post(client, "anna")
    page = third.get("/account").text
    assert "<script>alert" not in page
    assert re.search(r"The one before</dt><dd>.*20\d\d-\d\d-\d\d .* from 127\.0\.0\.1", page)
    keys = re.findall(r'name="key" value="([0-9a-f]{64})"', page)
    assert len(keys) == 2
    stranger = console.signed_in(Role.ADMINISTRATOR)
    assert stranger.post("/account/sessions/end", data={"key": keys[0]}).status_code == 404
    assert third.post("/account/sessions/end", data={"key": keys[0]}).status_code == 303
    assert sorted(client.get("/account").status_code for client in (first, second, third)) == [200, 200, 303]
    assert third.post("/account/sessions/end", data={"key": ""}).status_code == 404
    assert third.post("/account/sessions/end-all").headers["location"].startswith("/sign-in")
    assert [client.get("/account").status_code for client in (first, second, third)] == [303] * 3
    assert stranger.get("/account").status_code == 200


def test_changing_the_password_asks_for_the_old_one_and_ends_other_sessions(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    here, there = console.anonymous(), console.anonymous()
    _post(here, "anna")
    _post(there, "anna")
    before = here.cookies[COOKIE]
    form = {"old": PASSWORD, "password": NEW_PASSWORD, "repeated": NEW_PASSWORD}
    for change, field in (
        ({"old": "wrong"}, "old"),
        ({"password": "short"}, "password"),
        ({"password": "anna.anna.anna.2026"}, "password"),
        ({"repeated": "something else"}, "repeated"),
        ({"password": PASSWORD, "repeated": PASSWORD}, "password"),
    ):
        answer = here.post("/account/password", data=form | change)
        assert (answer.status_code, _wrong(answer)) == (422, [field])
    assert there.get("/account").status_code == 200
    answer = here.post("/account/password", data=form)
    assert answer.headers["location"] == "/account?notice=password"
    assert here.cookies[COOKIE] != before
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303
    assert _post(console.anonymous(), "anna").status_code == 401
    assert _post(console.anonymous(), "anna", NEW_PASSWORD).status_code == 303
    assert [event["account"] for event in _log(console, "password-changed")] == ["anna"]
    assert NEW_PASSWORD not in _whole_log(console)


def test_the_old_password_can_not_be_guessed_there_either(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER, name="anna")
    form = {"password": NEW_PASSWORD, "repeated": NEW_PASSWORD}
    for i in range(5):
        client.post("/account/password", data=form | {"old": f"guess {i}"})
    answer = client.post("/account/password", data=form | {"old": PASSWORD})
    assert answer.status_code == 422
    assert "Try again at" in answer.text


def test_a_hash_with_weaker_parameters_is_renewed(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    _set(console, users, password_hash=weak)
    for _ in range(2):
        assert _post(console.anonymous(), "anna").status_code == 303
    with reading(console.engine) as connection:
        kept = connection.execute(sa.select(users.c.password_hash)).scalar_one()
    assert kept != weak
    assert PasswordHasher().check_needs_rehash(kept) is False


def test_a_token_is_shown_once_and_may_what_was_chosen(console: ConsoleServer) -> None:
    client = console.signed_in(Role.AUDITOR, name="anna")
    form = {"name": "nightly export", "scopes": ["log:read"], "days": "30"}
    for change, field in (
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["accounts:manage"]}, "scopes"),
        ({"scopes": ["nonsense"]}, "scopes"),
        ({"days": "366"}, "days"),
        ({"days": "0"}, "days"),
        ({"days": "x"}, "days"),
    ):
        answer = client.post("/account/tokens", data=form | change)
        assert (answer.status_code, _wrong(answer)) == (422, [field])
    answer = client.post("/account/tokens", data=form)
    [token] = re.findall(r"mfp_[\w-]{43}", answer.text)
    assert answer.headers["cache-control"] == "no-store"
    page = client.get("/account").text
    assert token not in page
    assert "nightly export" in page
    with reading(console.engine) as connection:
        row = connection.execute(sa.select(api_tokens)).one()
    assert token not in str(row)
    assert row.scopes == Permission.LOG_READ
    program = console.anonymous()
    program.headers["Authorization"] = f"Bearer {token}"
    assert program.get("/api/studies").status_code == 403
    assert client.post(f"/account/tokens/{row.token_id}/revoke").status_code == 303
    assert program.get("/api/studies").status_code == 401
    assert console.signed_in(Role.ADMINISTRATOR).post(f"/account/tokens/{row.token_id}/revoke").status_code == 404
    assert _log(console, "token-created")[0]["scopes"] == ["log:read"]
    assert token not in _whole_log(console)


def test_the_profile_is_checked_and_escaped(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)
    form = {"display_name": "<b>Anna</b>", "email": "anna@example.org"}
    answer = client.post("/account/profile", data=form | {"email": "nonsense"})
    assert (answer.status_code, _wrong(answer)) == (422, ["email"])
    assert "&lt;b&gt;Anna" in answer.text
    assert client.post("/account/profile", data=form | {"display_name": "a\u202eb"}).status_code == 422
    assert client.post("/account/profile", data=form).status_code == 303
    page = client.get("/account").text
    assert "&lt;b&gt;Anna" in page
    assert "<b>Anna" not in page


def test_the_address_that_is_counted_comes_from_trusted_proxies_only(tmp_path: Path) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto": "https"}
    for proxies, host in (([], "127.0.0.1"), (["10.0.0.0/8"], "127.0.0.1"), (["127.0.0.0/8"], "198.51.100.7"),
                          (["127.0.0.1", "198.51.100.0/24"], "203.0.113.9")):  # fmt: skip
        folder = tmp_path / host.replace(".", "-") / str(len(proxies)) / "-".join(proxies).replace("/", "_")
        settings = console_settings(folder, extra={"console": {"trusted_proxies": proxies}})
        with running_console(settings) as console:
            console.add_user("anna", Role.VIEWER)
            client = console.anonymous()
            client.headers.update(forged | {"Sec-Fetch-Site": "same-origin"})
            assert _post(client, "anna").status_code == 303
            assert _log(console, "signed-in")[0]["host"] == host


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_breaks_is_answered_with_the_security_headers(
    console: ConsoleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = console.signed_in(Role.VIEWER)

    def explode(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("medfake_pacs.console.pages.account.queries.account", explode)
    answer = client.get("/account")
    assert answer.status_code == 500
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "nobody foresaw" not in answer.text
