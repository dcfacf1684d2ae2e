"""Registering, and what administrators do with accounts: in the console and on the command line."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import invitations, sign_in_failures, users
from medfake_pacs.database.tables import audit_events
from tests.console_support import PASSWORD, ConsoleServer, console_settings, running_console

NEW_PASSWORD = "seven violet kestrels asleep"
FORM = {"user_name": "Bob", "display_name": "Bob B.", "password": PASSWORD, "repeated": PASSWORD}
Start = Callable[..., ConsoleServer]


@pytest.fixture
def start(tmp_path: Path, database_url: str) -> Iterator[Start]:
    """Yield a function that starts a console with this kind of registration."""
    running: list[Any] = []

    def start_with(registration: str = "invitation") -> ConsoleServer:
        extra = {"console": {"registration": registration}}
        running.append(running_console(console_settings(tmp_path, database_url, extra)))
        console = running[-1].__enter__()
        assert isinstance(console, ConsoleServer)
        return console

    yield start_with
    for manager in running:
        manager.__exit__(None, None, None)


def _invite(administrator: httpx.Client, *roles: Role) -> str:
    answer = administrator.post("/accounts/invitations", data={"roles": list(roles), "note": "Bob", "days": "3"})
    assert answer.status_code == 200
    [secret] = re.findall(r"/register\?invitation=([\w-]+)", answer.text)
    assert secret not in administrator.get("/accounts").text
    return str(secret)


def _wrong(answer: httpx.Response) -> list[str]:
    return re.findall(r'id="error-([a-z_]+)"', answer.text)


def _account(console: ConsoleServer, name: str) -> Any:
    with reading(console.engine) as connection:
        return connection.execute(sa.select(users).where(users.c.user_name == name)).first()


def _log(console: ConsoleServer, kind: str) -> list[dict[str, Any]]:
    query = sa.select(audit_events.c.payload).where(audit_events.c.kind == kind).order_by(audit_events.c.seq)
    with reading(console.engine) as connection:
        return [json.loads(row.payload)["payload"] for row in connection.execute(query)]


def _sign_in(console: ConsoleServer, name: str, password: str = PASSWORD) -> tuple[httpx.Client, httpx.Response]:
    client = console.anonymous()
    return client, client.post("/sign-in", data={"user_name": name, "password": password})


def test_an_invitation_makes_one_account_that_waits(start: Start) -> None:
    console = start()
    administrator = console.signed_in(Role.ADMINISTRATOR, name="root")
    guest = console.anonymous()
    assert guest.get("/register").status_code == 404
    assert guest.post("/register", data=FORM).status_code == 404
    secret = _invite(administrator, Role.RADIOLOGIST)
    assert guest.get("/register", params={"invitation": secret}).status_code == 200
    form = FORM | {"invitation": secret}
    answer = guest.post("/register", data=form | {"user_name": "root"})
    assert (answer.status_code, _wrong(answer)) == (409, ["user_name"])
    for change, field in (
        ({"user_name": "b b"}, "user_name"),
        ({"password": "short"}, "password"),
        ({"repeated": "other"}, "repeated"),
        ({"email": "nonsense"}, "email"),
    ):
        answer = guest.post("/register", data=form | change)
        assert (answer.status_code, _wrong(answer)) == (422, [field])
        assert "Bob B." in answer.text
        assert PASSWORD not in answer.text
    assert guest.post("/register", data=form).status_code == 200
    assert guest.post("/register", data=form | {"user_name": "carl"}).status_code == 404
    assert _account(console, "carl") is None
    assert _sign_in(console, "bob")[1].status_code == 403
    bob = _account(console, "bob")
    assert (bob.state, bob.roles) == ("pending", "radiologist")
    assert "1 account waits" in administrator.get("/accounts").text
    answer = administrator.post(f"/accounts/{bob.user_id}/approve", data={"roles": ["viewer", "auditor"]})
    assert answer.status_code == 303
    assert _sign_in(console, "bob")[1].status_code == 303
    assert _account(console, "bob").roles == "auditor,viewer"
    assert administrator.post(f"/accounts/{bob.user_id}/approve").status_code == 409
    [event] = _log(console, "account-approved")
    assert (event["who"], event["account"], event["roles"]) == ("root", "bob", ["auditor", "viewer"])


def test_an_invitation_expires_and_can_be_revoked(start: Start) -> None:
    console = start()
    administrator = console.signed_in(Role.ADMINISTRATOR)
    secret = _invite(administrator, Role.VIEWER)
    [key] = re.findall(r"/accounts/invitations/([0-9a-f]+)/revoke", administrator.get("/accounts").text)
    assert administrator.post(f"/accounts/invitations/{key}/revoke").status_code == 303
    assert administrator.post(f"/accounts/invitations/{key}/revoke").status_code == 404
    assert console.anonymous().post("/register", data=FORM | {"invitation": secret}).status_code == 404
    secret = _invite(administrator, Role.VIEWER)
    with transaction(console.engine) as connection:
        connection.execute(sa.update(invitations).values(expires_at=time.time() - 1))
    assert console.anonymous().post("/register", data=FORM | {"invitation": secret}).status_code == 404
    for wrong in ({"days": "31"}, {"days": "0"}, {"days": "x"}):
        answer = administrator.post("/accounts/invitations", data={"note": "", "days": "3"} | wrong)
        assert (answer.status_code, _wrong(answer)) == (422, ["days"])
    assert administrator.post("/accounts/invitations", data={"days": "3", "roles": ["root"]}).status_code == 422


def test_open_registration_gives_no_roles_and_is_throttled(start: Start) -> None:
    console = start("open")
    guest = console.anonymous()
    assert "/register" in guest.get("/sign-in").text
    assert guest.post("/register", data=FORM | {"roles": "administrator", "state": "active"}).status_code == 200
    bob = _account(console, "bob")
    assert (bob.state, bob.roles) == ("pending", "")
    for _ in range(9):
        assert guest.post("/register", data=FORM | {"password": "short"}).status_code == 422
    answer = guest.post("/register", data=FORM | {"user_name": "carl"})
    assert answer.status_code == 429
    assert "Try again at" in answer.text
    with transaction(console.engine) as connection:
        connection.execute(sa.update(sign_in_failures).values(host="10.0.0.9"))
    assert guest.post("/register", data=FORM | {"user_name": "carl"}).status_code == 200


def test_closed_means_closed(start: Start) -> None:
    console = start("closed")
    administrator = console.signed_in(Role.ADMINISTRATOR)
    assert console.anonymous().get("/register").status_code == 404
    assert console.anonymous().post("/register", data=FORM).status_code == 404
    assert administrator.post("/accounts/invitations", data={"days": "3"}).status_code == 409


def test_a_rejected_account_is_gone_and_its_name_free(start: Start) -> None:
    console = start()
    administrator = console.signed_in(Role.ADMINISTRATOR)
    user_id = console.add_user("bob", state="pending")
    assert administrator.post(f"/accounts/{user_id}/reject").headers["location"] == "/accounts?notice=rejected"
    assert administrator.get(f"/accounts/{user_id}").status_code == 404
    active = console.add_user("bob", Role.VIEWER)
    assert administrator.post(f"/accounts/{active}/reject").status_code == 409


def test_disabling_and_other_roles_work_at_once(start: Start) -> None:
    console = start()
    administrator = console.signed_in(Role.ADMINISTRATOR)
    user_id = console.add_user("bob", Role.VIEWER)
    bob, _ = _sign_in(console, "bob")
    answer = bob.post("/account/tokens", data={"name": "x", "scopes": ["studies:read"], "days": "3"})
    [token] = re.findall(r"mfp_[\w-]{43}", answer.text)
    program = console.anonymous()
    program.headers["Authorization"] = f"Bearer {token}"
    assert program.get("/api/studies").status_code == 200
    assert bob.get("/worklist").status_code == 200
    administrator.post(f"/accounts/{user_id}/roles", data={"roles": []})
    assert bob.get("/worklist").status_code == 403
    assert program.get("/api/studies").status_code == 403
    administrator.post(f"/accounts/{user_id}/roles", data={"roles": ["viewer"]})
    assert program.get("/api/studies").status_code == 200
    assert administrator.post(f"/accounts/{user_id}/disable").status_code == 303
    assert bob.get("/account").status_code == 303
    assert program.get("/api/studies").status_code == 401
    assert administrator.post(f"/accounts/{user_id}/enable").status_code == 303
    assert bob.get("/account").status_code == 303
    assert program.get("/api/studies").status_code == 401
    assert _sign_in(console, "bob")[1].status_code == 303


def test_the_last_administrator_can_not_go(start: Start) -> None:
    console = start()
    administrator = console.signed_in(Role.ADMINISTRATOR, name="root")
    own = _account(console, "root").user_id
    console.add_user("old", Role.ADMINISTRATOR, state="disabled")
    console.add_user("new", Role.ADMINISTRATOR, state="pending")
    for path, form in (("disable", {}), ("roles", {"roles": ["viewer"]})):
        answer = administrator.post(f"/accounts/{own}/{path}", data=form)
        assert answer.status_code == 409
        assert "Nobody would be left" in answer.text
    second = console.add_user("second", Role.ADMINISTRATOR, Role.VIEWER)
    assert administrator.post(f"/accounts/{own}/roles", data={"roles": ["viewer"]}).status_code == 303
    assert administrator.get("/accounts").status_code == 403
    other, _ = _sign_in(console, "second")
    assert other.post(f"/accounts/{second}/disable").status_code == 409


def test_a_one_time_password_must_be_changed_before_anything_else(start: Start) -> None:
    console = start()
    administrator = console.signed_in(Role.ADMINISTRATOR, name="root")
    user_id = console.add_user("bob", Role.VIEWER)
    bob, _ = _sign_in(console, "bob")
    answer = administrator.post(f"/accounts/{user_id}/password")
    [temporary] = re.findall(r"\b(?:[a-z0-9]{5}-){3}[a-z0-9]{5}\b", answer.text)
    assert bob.get("/account").status_code == 303
    assert _sign_in(console, "bob")[1].status_code == 401
    bob, answer = _sign_in(console, "bob", temporary)
    assert answer.status_code == 303
    for path in ("/account", "/worklist", "/", "/checks"):
        assert bob.get(path).headers["location"] == "/account/password"
    assert bob.get("/worklist", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/account/password"
    token = {"name": "x", "scopes": ["studies:read"], "days": "3"}
    assert bob.post("/account/tokens", data=token).status_code == 403
    assert bob.get("/account/password").status_code == 200
    form = {"old": temporary, "password": NEW_PASSWORD, "repeated": NEW_PASSWORD}
    assert bob.post("/account/password", data=form | {"password": temporary, "repeated": temporary}).status_code == 422
    assert bob.post("/account/password", data=form).status_code == 303
    assert bob.get("/worklist").status_code == 200
    [event] = _log(console, "password-reset")
    assert (event["who"], event["account"]) == ("root", "bob")
    answer = administrator.post(f"/accounts/{user_id}/password")
    [temporary] = re.findall(r"\b(?:[a-z0-9]{5}-){3}[a-z0-9]{5}\b", answer.text)
    with transaction(console.engine) as connection:
        mine = users.c.user_id == user_id
        connection.execute(sa.update(users).where(mine).values(password_changed_at=time.time() - 4 * 86_400))
    _, answer = _sign_in(console, "bob", temporary)
    assert answer.status_code == 403
    assert "expired" in answer.text


def test_the_list_finds_and_pages(start: Start) -> None:
    console = start()
    administrator = console.signed_in(Role.ADMINISTRATOR, name="root")
    rows = [{"user_name": f"user{i:03}", "created_at": 0.0, "state": "active"} for i in range(150)]
    rows.append({"user_name": "percent", "display_name": "100% <i>", "created_at": 0.0, "state": "disabled"})
    with transaction(console.engine) as connection:
        for row in rows:
            connection.execute(sa.insert(users).values(row))
    page = administrator.get("/accounts").text
    assert "user097" in page
    assert "user098" not in page
    [older] = re.findall(r'href="(/accounts\?[^"]*after=[^"]*)"', page)
    assert "user149" in administrator.get(older.replace("&amp;", "&")).text
    page = administrator.get("/accounts", params={"search": "100%"}).text
    assert "100% &lt;i&gt;" in page
    assert "user001" not in page
    page = administrator.get("/accounts", params={"state": "disabled"}).text
    assert "percent" in page
    assert "root" not in re.findall(r'<th scope="row"><a[^>]*>([^<]*)', page)
    assert "No account is like this" in administrator.get("/accounts", params={"search": "zzz"}).text


def _command(config: Path, *words: str, password: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medfake_pacs", "user", *words, "--config", str(config)]
    return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, timeout=120, check=False)


def test_the_first_administrator_is_made_on_the_command_line(tmp_path: Path, database_url: str) -> None:
    config = tmp_path / "medfake.toml"
    config.write_text(f'[node]\nstate_dir = "state"\n[database]\nurl = "{database_url}"\n', encoding="utf-8")
    given = ("--password-file", "-")
    missing = _command(config, "list")
    assert (missing.returncode, missing.stdout) == (2, "")
    weak = _command(config, "add", "root", "--role", "administrator", *given, password="password1234")
    assert weak.returncode == 1
    assert "first that anybody would try" in weak.stderr
    unknown = _command(config, "add", "root", "--role", "nurse", *given, password=PASSWORD)
    assert "viewer, radiologist, auditor, administrator" in unknown.stderr
    made = _command(config, "add", "Root", "--role", "administrator", *given, password=PASSWORD)
    assert (made.returncode, made.stderr) == (0, "")
    assert "already" in _command(config, "add", "root", *given, password=PASSWORD).stderr
    assert "Nobody would be left" in _command(config, "disable", "root").stderr
    assert "Nobody would be left" in _command(config, "roles", "root", "viewer").stderr
    [account] = json.loads(_command(config, "list", "--format", "json").stdout)
    assert (account["user_name"], account["state"], account["roles"]) == ("root", "active", ["administrator"])
    with running_console(console_settings(tmp_path, database_url)) as console:
        administrator, answer = _sign_in(console, "root")
        assert answer.status_code == 303
        assert administrator.get("/accounts").status_code == 200
        console.add_user("bob", state="pending")
        assert _command(config, "approve", "bob", "--role", "viewer").returncode == 0
        assert _sign_in(console, "bob")[1].status_code == 303
        assert _command(config, "passwd", "bob", *given, "--must-change", password=NEW_PASSWORD).returncode == 0
        bob, _ = _sign_in(console, "bob", NEW_PASSWORD)
        assert bob.get("/account").headers["location"] == "/account/password"
        assert _command(config, "disable", "bob").returncode == 0
        assert bob.get("/account").headers["location"].startswith("/sign-in")
        assert "There is no account" in _command(config, "enable", "nobody").stderr
        assert _command(config, "enable", "bob").returncode == 0
        [event] = _log(console, "account-approved")
        assert event["via"] == "command line"
        assert event["who"]
