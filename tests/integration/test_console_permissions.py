"""Every route asks who is there and whether they may: in what it declares, and over HTTP for every role."""

import itertools
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from medfake_pacs.console.app import create_app
from medfake_pacs.console.guards import UPLOAD_PATHS
from medfake_pacs.console.process import open_services
from medfake_pacs.console.security import sessions
from medfake_pacs.console.security.identity import Requirement
from medfake_pacs.console.security.permissions import ROLE_PERMISSIONS, Permission, Role
from medfake_pacs.console.security.tokens import PREFIX
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import api_tokens
from tests.console_support import ConsoleServer, console_settings, running_console

# What anybody may ask for. What is added here is open to the whole network.
PUBLIC = {
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/sign-in/oidc"),
    ("GET", "/sign-in/oidc/callback"),
    ("GET", "/register"),
    ("POST", "/register"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/api/openapi.json"),
}
SERVER_ERROR = 500
NO_SUCH_NUMBER = "999999999"
NO_SUCH_NAME = "1.2.3.4"


@dataclass(frozen=True)
class Protected:
    """One method of one path, with all that it asks for."""

    method: str
    path: str
    permissions: frozenset[Permission]
    takes_body: bool

    @property
    def is_api(self) -> bool:
        return self.path.startswith("/api/")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _requirements(dependant: Dependant) -> Iterator[Requirement]:
    if isinstance(dependant.call, Requirement):
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _requirements(inner)


def _filled(context: Any) -> str:
    """Return the route's path with something that names nothing in the place of its parameters."""
    numbers = {field.name for field in context.dependant.path_params if field.field_info.annotation is int}

    def value(match: re.Match[str]) -> str:
        return NO_SUCH_NUMBER if match[1] in numbers else NO_SUCH_NAME

    return re.sub(r"\{(\w+)(?::\w+)?\}", value, str(context.path))


def _walk(folder: Path) -> tuple[list[Protected], list[str]]:
    """Return the protected routes, and those that are neither protected nor public."""
    services = open_services(console_settings(folder), Path("medfake.toml"))
    protected, open_to_all = [], []
    for context in iter_route_contexts(create_app(services).routes):
        dependant = getattr(context, "dependant", None)
        for method in sorted(getattr(context, "methods", None) or {"MOUNT"}):
            required = list(_requirements(dependant)) if dependant else []
            if required:
                permissions = frozenset(each.permission for each in required if each.permission)
                body = context.body_field is not None
                protected.append(Protected(method, _filled(context), permissions, body))
            elif (method, context.path) not in PUBLIC and context.path != "/static" and method != "HEAD":
                open_to_all.append(f"{method} {context.path}")
    services.close()
    return protected, open_to_all


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Protected]:
    """Return every protected route of the application."""
    protected, _ = _walk(tmp_path_factory.mktemp("routes"))
    return protected


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path_factory.mktemp("console"))) as running:
        yield running


class People:
    """An account for each role, and new sessions or tokens of it."""

    def __init__(self, console: ConsoleServer) -> None:
        self._console = console
        self._client = console.anonymous()
        self._ids = {role: console.add_user(f"permissions-{role}", role) for role in Role}

    def ask(self, route: Protected, role: Role | None, **credentials: Any) -> httpx.Response:
        """Send a request with a new session, or token under ``/api``, of the role's account."""
        headers = credentials or self._credentials(route.is_api, role)
        with self._client.stream(route.method, route.path, headers=headers) as answer:
            # Not the body: some never end.
            return answer

    def _credentials(self, by_token: bool, role: Role | None) -> dict[str, str]:
        if role is None:
            return {}
        return self.token(role, set(ROLE_PERMISSIONS[role])) if by_token else self.session(role)

    def session(self, role: Role) -> dict[str, str]:
        services = self._console.services
        secret = sessions.begin(services, self._ids[role], "127.0.0.1", "test", time.time())
        return {"Cookie": f"{sessions.cookie_name(services)}={secret}"}

    def token(self, role: Role, scopes: set[Permission]) -> dict[str, str]:
        secret = PREFIX + secrets.token_urlsafe(32)
        row = {
            "token_sha256": sessions.digest(secret),
            "user_id": self._ids[role],
            "name": "test",
            "scopes": ",".join(sorted(scopes)),
            "created_at": time.time(),
            "expires_at": time.time() + 3600,
        }
        with transaction(self._console.engine) as connection:
            connection.execute(sa.insert(api_tokens).values(row))
        return {"Authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def people(console: ConsoleServer) -> People:
    """Return an account for each role."""
    return People(console)


def _is_sent_to_sign_in(answer: httpx.Response) -> bool:
    return answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")


def test_every_route_is_public_on_purpose_or_asks_who_is_there(tmp_path: Path) -> None:
    protected, open_to_all = _walk(tmp_path)
    assert open_to_all == []
    assert len(protected) > 30
    for permission in set(Permission):
        assert any(permission in route.permissions for route in protected), permission


def test_uploads_ask_before_they_take_the_body(routes: list[Protected]) -> None:
    found = [route for route in routes if route.method == "POST" and route.path in UPLOAD_PATHS]
    assert [str(route) for route in found if route.takes_body] == []


def test_nobody_gets_anywhere(routes: list[Protected], people: People) -> None:
    wrong = []
    for route in routes:
        answer = people.ask(route, None)
        if not (answer.status_code == 401 if route.is_api else _is_sent_to_sign_in(answer)):
            wrong.append(f"{route}: {answer.status_code}")
    assert wrong == []


@pytest.mark.parametrize("role", list(Role))
def test_a_role_gets_where_it_may_and_nowhere_else(routes: list[Protected], people: People, role: Role) -> None:
    wrong = []
    for route in routes:
        status = people.ask(route, role).status_code
        may = route.permissions <= ROLE_PERMISSIONS[role]
        refused = status in {401, 403}
        if status >= SERVER_ERROR or refused == may or (not may and status != 403):
            wrong.append(f"{route}: {status}, although it {'may' if may else 'may not'}")
    assert wrong == []


def test_a_cookie_opens_no_call_and_a_token_no_page(routes: list[Protected], people: People) -> None:
    wrong = []
    for route in routes:
        role = Role.ADMINISTRATOR
        other = people.session(role) if route.is_api else people.token(role, set(Permission))
        answer = people.ask(route, role, **other)
        if not (answer.status_code == 401 if route.is_api else _is_sent_to_sign_in(answer)):
            wrong.append(f"{route}: {answer.status_code}")
    assert wrong == []


def test_a_token_may_no_more_than_its_scopes_nor_than_its_owner(routes: list[Protected], people: People) -> None:
    wrong = []
    for route, role in itertools.product(routes, Role):
        if not route.is_api or not route.permissions:
            continue
        owned = ROLE_PERMISSIONS[role]
        too_few = [set(owned) - {permission} for permission in route.permissions]
        beyond_owner = [] if route.permissions <= owned else [set(Permission)]
        for scopes in (*too_few, *beyond_owner):
            status = people.ask(route, role, **people.token(role, scopes)).status_code
            if status != 403:
                wrong.append(f"{route} as {role} with {sorted(scopes)}: {status}")
    assert wrong == []


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer mfp_", "Basic mfp_x", "Bearer mfp_\u00e9", "mfp_x"])
def test_what_is_no_token_is_nobody(console: ConsoleServer, authorization: str) -> None:
    headers = {"Authorization": authorization.encode()}
    answer = console.anonymous().get("/api/studies", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
