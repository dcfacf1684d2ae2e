"""Signing in by OpenID Connect, against a provider that answers over HTTP and can be told to lie."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from joserfc.jwk import RSAKey

from medfake_pacs.config import load_settings
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import oidc_flows, sign_in_failures, users
from medfake_pacs.database.tables import audit_events
from medfake_pacs.errors import ConfigurationError
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider

CALLBACK = "/sign-in/oidc/callback"
PUBLIC = "http://console.example"
Start = Callable[..., ConsoleServer]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Yield a provider that answers."""
    with running_provider() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, database_url: str, provider: Provider) -> Iterator[Start]:
    """Yield a function that starts a console which trusts the provider."""
    (tmp_path / "secret").write_text(CLIENT_SECRET + "\n", encoding="utf-8")
    running: list[Any] = []

    def start_with(**oidc: object) -> ConsoleServer:
        section = {"issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret_file": "secret", **oidc}
        extra = {"console": {"public_url": PUBLIC, "oidc": section}}
        manager = running_console(console_settings(tmp_path, database_url, extra))
        console = manager.__enter__()
        running.append(manager)
        return console

    yield start_with
    for manager in running:
        manager.__exit__(None, None, None)


def _begin(client: httpx.Client, where: str = "/account") -> str:
    """Return the path and query with which the provider sends the browser back."""
    answer = client.get("/sign-in/oidc", params={"next": where})
    assert answer.status_code == 303, answer.text
    at_provider = httpx.get(answer.headers["location"])
    assert at_provider.status_code == 302
    back = at_provider.headers["location"]
    assert back.startswith(f"{PUBLIC}{CALLBACK}?")
    return back.removeprefix(PUBLIC)


def _sign_in(console: ConsoleServer, where: str = "/account") -> tuple[httpx.Client, httpx.Response]:
    client = console.anonymous()
    return client, client.get(_begin(client, where))


def _accounts(console: ConsoleServer) -> list[Any]:
    with reading(console.engine) as connection:
        return list(connection.execute(sa.select(users).order_by(users.c.user_id)))


def test_the_first_sign_in_makes_an_account_that_waits(start: Start, provider: Provider) -> None:
    console = start()
    assert "single sign-on" in console.anonymous().get("/sign-in").text
    client, answer = _sign_in(console)
    assert answer.status_code == 403
    assert "waits until an administrator approves it" in answer.text
    assert client.get("/account").status_code == 303
    [account] = _accounts(console)
    assert (account.user_name, account.state, account.roles) == ("greta", "pending", "viewer")
    assert account.oidc_subject == f"{provider.issuer}\n4711"
    administrator = console.signed_in(Role.ADMINISTRATOR)
    assert administrator.post(f"/accounts/{account.user_id}/approve", data={"roles": ["auditor"]}).status_code == 303
    client, answer = _sign_in(console, "/account?x=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/account?x=1"
    assert "auditor" in client.get("/account").text


def test_an_account_is_never_found_by_name_or_address(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True)
    console.add_user("greta", Role.ADMINISTRATOR)
    provider.person = {"sub": "1", "preferred_username": "greta", "email": "greta@example.org"}
    client, answer = _sign_in(console)
    assert answer.status_code == 303
    page = client.get("/account").text
    assert "greta-2" in page
    assert client.get("/accounts").status_code == 403
    provider.person = {"sub": "2", "preferred_username": "greta", "email": "greta@example.org"}
    client, answer = _sign_in(console)
    assert "greta-3" in client.get("/account").text


def test_roles_follow_the_claim_at_each_sign_in(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True, roles_claim="realm_access.roles")
    provider.person |= {"realm_access": {"roles": ["Auditor", "administrator", "offline_access"]}}
    client, _ = _sign_in(console)
    assert client.get("/accounts").status_code == 200
    console.add_user("root", Role.ADMINISTRATOR)
    provider.person["realm_access"] = {"roles": ["viewer"]}
    _sign_in(console)
    assert client.get("/accounts").status_code == 403
    del provider.person["realm_access"]
    _sign_in(console)
    assert _accounts(console)[0].roles == ""


def test_a_disabled_account_stays_out(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True)
    client, _ = _sign_in(console)
    administrator = console.signed_in(Role.ADMINISTRATOR)
    assert administrator.post(f"/accounts/{_accounts(console)[0].user_id}/disable").status_code == 303
    assert client.get("/account").status_code == 303
    _, answer = _sign_in(console)
    assert answer.status_code == 403
    assert "disabled" in answer.text
    assert "set-cookie" not in answer.headers or "medfake-session" not in answer.headers["set-cookie"]


def _expire(claims: dict[str, Any]) -> None:
    claims["exp"] = int(time.time()) - 3600


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another nonce": lambda claims: claims.update(nonce="another"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "another issuer": lambda claims: claims.update(iss="https://evil.example"),
    "another audience": lambda claims: claims.update(aud="somebody"),
    "an audience without us": lambda claims: claims.update(aud=["somebody", "else"], azp=CLIENT_ID),
    "made for another party": lambda claims: claims.update(aud=[CLIENT_ID, "other"], azp="other"),
    "no audience": lambda claims: claims.pop("aud"),
    "expired": _expire,
    "no expiry": lambda claims: claims.pop("exp"),
    "issued in the future": lambda claims: claims.update(iat=int(time.time()) + 3600),
    "no subject": lambda claims: claims.pop("sub"),
    "a subject that is no text": lambda claims: claims.update(sub=["4711"]),
    "a subject beyond 255": lambda claims: claims.update(sub="x" * 256),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_token_that_is_wrong_signs_nobody_in(start: Start, provider: Provider, lie: str) -> None:
    console = start(approve_automatically=True)
    provider.lie_in_token = lambda claims: LIES[lie](claims) and None
    client, answer = _sign_in(console)
    assert answer.status_code == 401
    assert client.get("/account").status_code == 303
    assert _accounts(console) == []
    assert provider.token_requests == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_token_that_another_has_signed_signs_nobody_in(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True)
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "first"})
    assert _sign_in(console)[1].status_code == 401
    # The client's secret and the public key are known to others than the provider.
    for key in (CLIENT_SECRET.encode(), provider.key.as_pem(private=False)):
        provider.signing_key = key
        assert _sign_in(console)[1].status_code == 401
    provider.signing_key = None
    assert _sign_in(console)[1].status_code == 401
    assert _accounts(console) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_several_audiences_are_fine_if_we_are_the_party(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True)
    provider.person |= {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID}
    assert _sign_in(console)[1].status_code == 303


def test_only_the_browser_that_began_can_finish_and_only_once(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True)
    mine, other = console.anonymous(), console.anonymous()
    back = _begin(mine)
    assert other.get(back).status_code == 401
    _begin(other)
    assert other.get(back).status_code == 401
    assert mine.get(back).status_code == 303
    assert mine.get(back).status_code == 401
    client = console.anonymous()
    wrong = _begin(client).replace("state=", "state=x")
    assert client.get(wrong).status_code == 401
    client = console.anonymous()
    back = _begin(client)
    with transaction(console.engine) as connection:
        connection.execute(sa.update(oidc_flows).values(expires_at=time.time() - 1))
    assert client.get(back).status_code == 401


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_is_led_to_another_site(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True)
    assert _sign_in(console, "//evil.example")[1].headers["location"] == "/"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("lie", [{"issuer": "https://evil.example"}, {"token_endpoint": "http://evil.example/token"}])
def test_metadata_that_is_not_the_issuers_own_is_refused(start: Start, provider: Provider, lie: dict[str, str]) -> None:
    console = start()
    provider.lie_in_metadata = lie
    answer = console.anonymous().get("/sign-in/oidc")
    assert answer.status_code == 503
    assert "can't be reached" in answer.text or "can&#39;t be reached" in answer.text


def test_a_refusal_at_the_provider_is_said_and_logged(start: Start, provider: Provider) -> None:
    console = start()
    client = console.anonymous()
    state = _begin(client).partition("state=")[2].partition("&")[0]
    answer = client.get(CALLBACK, params={"error": "access_denied", "state": state})
    assert answer.status_code == 401
    assert "not finished" in answer.text
    assert provider.token_requests == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_policy_lets_the_browser_go_to_the_provider(start: Start, provider: Provider) -> None:
    console = start()
    page = console.anonymous().get("/sign-in").text
    assert 'href="/sign-in/oidc' in page
    assert 'action="/sign-in/oidc' not in page


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").touch()
    (tmp_path / "medfake.toml").write_text(
        '[console]\npublic_url = "https://c.example"\n[console.oidc]\nissuer = "https://i.example"\n'
        'client_id = "x"\nclient_secret_file = "secret"\n',
        encoding="utf-8",
    )
    load_settings(tmp_path / "medfake.toml")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"medfake-pacs\[oidc\]"):
        load_settings(tmp_path / "medfake.toml")


def test_failed_sign_ons_are_counted_and_fill_no_log(start: Start, provider: Provider) -> None:
    console = start()
    statuses = []
    flows = [console.anonymous() for _ in range(30)]
    begun = [(client, client.get("/sign-in/oidc")) for client in flows]
    for client, answer in begun:
        state = answer.headers["location"].partition("state=")[2].partition("&")[0]
        statuses.append(client.get(CALLBACK, params={"error": "x", "state": state}).status_code)
    assert set(statuses) == {401}
    answer = console.anonymous().get("/sign-in/oidc")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert "Try again at" in answer.text
    assert len(_log(console, "sign-in-refused")) == 20
    assert provider.metadata_requests == 1
    with transaction(console.engine) as connection:
        connection.execute(sa.update(sign_in_failures).values(failed_at=time.time() - 61))
    assert _sign_in(console)[1].status_code == 403


def test_a_missing_claim_leaves_the_last_administrator(start: Start, provider: Provider) -> None:
    console = start(approve_automatically=True, roles_claim="roles")
    provider.person |= {"roles": ["administrator", "auditor"]}
    _sign_in(console)
    del provider.person["roles"]
    client, _ = _sign_in(console)
    assert _accounts(console)[0].roles == "administrator"
    assert client.get("/accounts").status_code == 200
    [event] = _log(console, "account-roles-changed")
    assert (event["kept"], event["roles"]) == ("administrator", ["administrator"])
    _sign_in(console)
    assert len(_log(console, "account-roles-changed")) == 1
    console.add_user("root", Role.ADMINISTRATOR)
    _sign_in(console)
    assert _accounts(console)[0].roles == ""


def test_roles_of_an_account_that_is_not_active_stay(start: Start, provider: Provider) -> None:
    console = start(roles_claim="roles")
    provider.person |= {"roles": ["viewer"]}
    _sign_in(console)
    provider.person |= {"roles": ["administrator"]}
    _sign_in(console)
    assert (_accounts(console)[0].state, _accounts(console)[0].roles) == ("pending", "viewer")


def _log(console: ConsoleServer, kind: str) -> list[dict[str, Any]]:
    query = sa.select(audit_events.c.payload).where(audit_events.c.kind == kind).order_by(audit_events.c.seq)
    with reading(console.engine) as connection:
        return [json.loads(row.payload)["payload"] for row in connection.execute(query)]
