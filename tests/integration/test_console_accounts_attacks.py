"""What strangers and former insiders try at accounts: floods, races, shutting others out, going on after a reset."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.console.security import accounts, passwords
from medfake_pacs.console.security.actors import Actor
from medfake_pacs.console.security.permissions import Permission, Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import invitations, sign_in_failures, users
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent
from tests.console_support import PASSWORD, ConsoleServer, console_settings, running_console
from tests.console_uploads import picture, upload

NEW_PASSWORD = "seven violet kestrels asleep"
DEVICE = "medfake-device"


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        yield running


def _post(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/sign-in", data={"user_name": name, "password": password})


def _log(console: ConsoleServer, kind: str) -> list[dict[str, Any]]:
    query = sa.select(audit_events.c.payload).where(audit_events.c.kind == kind).order_by(audit_events.c.seq)
    with reading(console.engine) as connection:
        return [json.loads(row.payload)["payload"] for row in connection.execute(query)]


def _long_ago(console: ConsoleServer, seq: int) -> int:
    """Put an event into the log that says the same as one that is there, but more than an hour ago."""
    with transaction(console.engine) as connection:
        row = connection.execute(sa.select(audit_events).where(audit_events.c.seq == seq)).one()
        event = AuditEvent(kind=row.kind, patient_id=row.patient_id, payload=json.loads(row.payload)["payload"])
        return audit.append(connection, event, occurred_at=time.time() - 3700)


def _elsewhere(console: ConsoleServer) -> None:
    """Let everything that was counted have come from other hosts, each its own."""
    with transaction(console.engine) as connection:
        for row in connection.execute(sa.select(sign_in_failures)).all():
            mine = sign_in_failures.c.failure_id == row.failure_id
            connection.execute(sa.update(sign_in_failures).where(mine).values(host=f"10.0.0.{row.failure_id % 250}"))


def _fail_elsewhere(console: ConsoleServer, name: str, count: int) -> None:
    client = console.anonymous()
    _post(client, name, "wrong")
    with transaction(console.engine) as connection:
        row = connection.execute(sa.select(sign_in_failures)).first()
        assert row is not None
        values = {"action": row.action, "name_sha256": row.name_sha256, "failed_at": row.failed_at}
        for number in range(count - 1):
            connection.execute(sa.insert(sign_in_failures).values(host=f"10.0.0.{number}", **values))
        mine = sign_in_failures.c.failure_id == row.failure_id
        connection.execute(sa.update(sign_in_failures).where(mine).values(host="10.9.9.9"))


@pytest.mark.parametrize("state", ["pending", "disabled"])
def test_the_right_password_of_an_account_that_stays_out_is_counted(console: ConsoleServer, state: str) -> None:
    console.add_user("mallory", Role.VIEWER, state=state)
    client = console.anonymous()
    assert [_post(client, "mallory").status_code for _ in range(12)] == [403] * 5 + [429] * 7
    assert len(_log(console, "sign-in-refused")) == 5


def test_strangers_elsewhere_shut_nobody_out_soon(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    _fail_elsewhere(console, "anna", 40)
    assert _post(console.anonymous(), "anna").status_code == 303
    # That she signed in is no excuse for them.
    with reading(console.engine) as connection:
        assert len(connection.execute(sa.select(sign_in_failures)).all()) == 40


def test_many_strangers_do_but_not_where_one_has_signed_in_before(console: ConsoleServer) -> None:
    console.add_user("anna", Role.VIEWER)
    console.add_user("mallory", Role.VIEWER)
    known, other, hers = console.anonymous(), console.anonymous(), console.anonymous()
    assert _post(known, "anna").status_code == 303
    assert _post(other, "mallory").status_code == 303
    _fail_elsewhere(console, "anna", 50)
    assert _post(hers, "anna").status_code == 429
    assert _post(other, "anna").status_code == 429
    forged = console.anonymous()
    forged.cookies.set(DEVICE, known.cookies[DEVICE][:-1] + "x")
    assert _post(forged, "anna").status_code == 429
    assert _post(known, "anna").status_code == 303
    # It is no way to guess without end.
    assert [_post(known, "anna", f"guess {i}").status_code for i in range(6)] == [401] * 5 + [429]
    assert _post(known, "anna").status_code == 429


def test_a_browser_is_forgotten_with_the_password(console: ConsoleServer) -> None:
    user_id = console.add_user("anna", Role.VIEWER)
    known = console.anonymous()
    _post(known, "anna")
    with transaction(console.engine) as connection:
        accounts.reset_password(
            connection, Actor(who="root"), user_id, passwords.hashed(NEW_PASSWORD), must_change=False
        )
    _fail_elsewhere(console, "anna", 50)
    assert _post(known, "anna", NEW_PASSWORD).status_code == 429


def test_changing_the_password_and_signing_in_are_counted_apart(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER, name="anna")
    stranger = console.anonymous()
    for i in range(6):
        _post(stranger, "anna", f"guess {i}")
    form = {"password": NEW_PASSWORD, "repeated": NEW_PASSWORD, "old": PASSWORD}
    assert client.post("/account/password", data=form).status_code == 303
    _elsewhere(console)
    assert _post(console.anonymous(), "anna", NEW_PASSWORD).status_code == 303


def test_a_password_that_is_reset_while_it_is_looked_at_signs_nobody_in(
    console: ConsoleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = console.add_user("bob", Role.VIEWER)
    look, other = passwords.matches, passwords.hashed(NEW_PASSWORD)

    def look_slowly(kept: str | None, password: str) -> bool:
        right = look(kept, password)
        with transaction(console.engine) as connection:
            accounts.reset_password(connection, Actor(who="root"), user_id, other, must_change=False)
        return right

    monkeypatch.setattr(passwords, "matches", look_slowly)
    client = console.anonymous()
    assert _post(client, "bob").status_code == 401
    assert client.get("/account").status_code == 303
    assert _log(console, "signed-in") == []


def test_an_account_that_is_disabled_meanwhile_stays_out(
    console: ConsoleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = console.add_user("bob", Role.VIEWER)
    look = passwords.matches

    def look_slowly(kept: str | None, password: str) -> bool:
        with transaction(console.engine) as connection:
            accounts.disable(connection, Actor(who="root"), user_id)
        return look(kept, password)

    monkeypatch.setattr(passwords, "matches", look_slowly)
    assert _post(console.anonymous(), "bob").status_code == 401
    assert _log(console, "signed-in") == []


def test_a_reset_is_not_undone_by_a_change_of_the_old_password(
    console: ConsoleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = console.signed_in(Role.VIEWER, name="bob")
    look, other = passwords.matches, passwords.hashed("amber lantern under the bridge")
    with reading(console.engine) as connection:
        user_id = connection.execute(sa.select(users.c.user_id)).scalar_one()

    def look_slowly(kept: str | None, password: str) -> bool:
        right = look(kept, password)
        with transaction(console.engine) as connection:
            accounts.reset_password(connection, Actor(who="root"), user_id, other, must_change=False)
        return right

    monkeypatch.setattr(passwords, "matches", look_slowly)
    form = {"password": NEW_PASSWORD, "repeated": NEW_PASSWORD, "old": PASSWORD}
    assert client.post("/account/password", data=form).status_code == 422
    with reading(console.engine) as connection:
        assert connection.execute(sa.select(users.c.password_hash)).scalar_one() == other


def test_tokens_end_with_the_password_that_was_reset(console: ConsoleServer) -> None:
    program, administrator = console.with_token(Role.VIEWER), console.signed_in(Role.ADMINISTRATOR)
    with reading(console.engine) as connection:
        user_id = connection.execute(
            sa.select(users.c.user_id).where(users.c.user_name.startswith("token-"))
        ).scalar_one()
    assert program.get("/api/studies").status_code == 200
    administrator.post(f"/accounts/{user_id}/password")
    assert program.get("/api/studies").status_code == 401


def test_a_token_waits_for_a_one_time_password_to_be_changed(console: ConsoleServer) -> None:
    program = console.with_token(Role.VIEWER)
    with transaction(console.engine) as connection:
        connection.execute(sa.update(users).values(must_change_password=True))
    assert program.get("/api/studies").status_code == 401
    [event] = _log(console, "token-refused")
    assert event["reason"] == "the account has a one-time password"


def test_a_token_for_checks_alone_sees_its_own_alone(console: ConsoleServer) -> None:
    alice = console.signed_in(Role.VIEWER, name="alice")
    answer = upload(alice, [("a.png", picture())])
    check_id = answer.headers["location"].rpartition("/")[2]
    program = console.with_token(Role.ADMINISTRATOR, scopes=[Permission.IMAGES_CHECK])
    assert program.get(f"/api/images/{check_id}").status_code == 404
    assert console.with_token(Role.ADMINISTRATOR).get(f"/api/images/{check_id}").status_code == 200


def test_a_beginning_of_a_key_ends_nothing(console: ConsoleServer) -> None:
    administrator = console.signed_in(Role.ADMINISTRATOR)
    administrator.post("/accounts/invitations", data={"roles": ["viewer"], "days": "7"})
    with reading(console.engine) as connection:
        key = connection.execute(sa.select(invitations.c.invitation_sha256)).scalar_one()
    for beginning in (key[0], key[:16], key[:-1], "%", ""):
        assert administrator.post(f"/accounts/invitations/{beginning}/revoke").status_code in {404, 405}
    assert administrator.post(f"/accounts/invitations/{key}/revoke").status_code == 303
    digits = "0123456789abcdef"
    answers = [administrator.post("/account/sessions/end", data={"key": each}).status_code for each in digits]
    assert answers == [404] * 16


def test_whoever_has_an_invitation_is_counted_too(console: ConsoleServer) -> None:
    administrator = console.signed_in(Role.ADMINISTRATOR)
    page = administrator.post("/accounts/invitations", data={"roles": ["viewer"], "days": "7"}).text
    secret = page.partition("/register?invitation=")[2].partition('"')[0].partition("<")[0]
    form = {"user_name": "bob", "password": "short", "repeated": "short", "invitation": secret}
    guest = console.anonymous()
    assert [guest.post("/register", data=form).status_code for _ in range(11)] == [422] * 10 + [429]


def test_a_search_goes_on_for_an_hour_and_only_from_its_pages(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)
    client.get("/worklist", params={"patient_id": "P7"})
    with reading(console.engine) as connection:
        seq = connection.execute(
            sa.select(audit_events.c.seq).where(audit_events.c.kind == "worklist-searched")
        ).scalar_one()
    same = {"patient_id": "P7", "logged": str(seq)}
    client.get("/worklist/rows", params=same)
    assert len(_log(console, "worklist-searched")) == 1
    client.get("/worklist", params=same)
    assert len(_log(console, "worklist-searched")) == 2
    old = _long_ago(console, seq)
    client.get("/worklist/rows", params=same | {"logged": str(old)})
    assert len(_log(console, "worklist-searched")) == 4


def test_a_program_s_first_page_is_a_search_whatever_it_brings(console: ConsoleServer) -> None:
    program = console.with_token(Role.VIEWER)
    for number in (0, 1, 2, 3):
        assert program.get("/api/studies", params={"patient_id": "P7", "logged": number}).status_code == 200
    assert len(_log(console, "worklist-searched")) == 4


def test_a_search_of_the_log_goes_on_for_an_hour_and_backwards_only(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR)
    auditor.get("/log", params={"kind": "log-read"})
    assert len(_log(console, "log-read")) == 1
    with reading(console.engine) as connection:
        seq = connection.execute(sa.select(audit_events.c.seq).where(audit_events.c.kind == "log-read")).scalar_one()
    auditor.get("/log", params={"kind": "log-read", "cursor": f"{seq}-{seq}"})
    assert len(_log(console, "log-read")) == 1
    auditor.get("/log", params={"kind": "log-read", "cursor": f"{seq}-{seq + 1000}"})
    assert len(_log(console, "log-read")) == 2
    old = _long_ago(console, seq)
    auditor.get("/log", params={"kind": "log-read", "cursor": f"{old}-{old}"})
    assert len(_log(console, "log-read")) == 4
