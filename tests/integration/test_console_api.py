"""What every call of the REST API shares: its document, its errors, its methods, what it refuses."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs.console.openapi import operations
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.console.security.refused_tokens import RefusedTokens
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import api_tokens
from medfake_pacs.database.tables import audit_events
from tests.console_support import ConsoleServer, console_settings, running_console

EVERYONE = tuple(Role)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path_factory.mktemp("console"))) as running:
        yield running


def _document(console: ConsoleServer) -> dict[str, Any]:
    answer = console.anonymous().get("/api/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


def _problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return dict(body)


def test_the_document_says_of_each_call_what_it_needs_and_how_it_fails(console: ConsoleServer) -> None:
    document = _document(console)
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "HTTPValidationError" not in json.dumps(document)
    seen = set()
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        name = f"{method} {path}"
        assert path.startswith("/api/"), name
        assert operation["operationId"] not in seen, name
        seen.add(operation["operationId"])
        assert operation["summary"], name
        assert not operation["summary"].endswith("."), name
        assert operation["tags"], name
        assert set(operation["tags"]) <= tags, name
        [requirement] = operation["security"]
        for scope in requirement["token"]:
            assert f"Scope: `{scope}`" in operation["description"], name
        assert {"401", "422", "503"} <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            assert response["description"], name
            if int(status) >= 400:
                assert set(response["content"]) == {"application/problem+json"}, name
        for parameter in operation.get("parameters", ()):
            assert parameter["schema"], name


def test_every_call_refuses_strangers_and_a_token_without_scopes(console: ConsoleServer) -> None:
    stranger = console.anonymous()
    weak = console.with_token(*EVERYONE, scopes=[])
    for path, method, operation in operations(_document(console)):
        address = path.replace("{", "").replace("}", "")
        body = _problem(stranger.request(method, address), 401)
        assert body["title"]
        if operation["security"][0]["token"]:
            _problem(weak.request(method, address), 403)


def test_refused_tokens_are_in_the_log_but_few_of_them(tmp_path: Path) -> None:
    with running_console(console_settings(tmp_path)) as console:
        client = console.with_token(Role.VIEWER)
        with transaction(console.engine) as connection:
            connection.execute(sa.update(api_tokens).values(expires_at=time.time() - 1))
        for _ in range(30):
            _problem(client.get("/api/studies"), 401)
        with reading(console.engine) as connection:
            query = sa.select(audit_events.c.payload).where(audit_events.c.kind == "token-refused")
            rows = [json.loads(text)["payload"] for text in connection.execute(query).scalars()]
    assert [(row["reason"], row["host"]) for row in rows] == [("expired", "127.0.0.1")]
    assert rows[0]["owner"].startswith("token-")


def test_refusals_from_everywhere_are_bounded() -> None:
    refused = RefusedTokens()
    logged = [refused.to_log(f"10.0.0.{number}", 1000.0) for number in range(200)]
    assert [count for count in logged if count is not None] == [0] * 10
    assert refused.to_log("10.0.0.250", 1061.0) == 190


@pytest.mark.parametrize("path", ["/api/nothing", "/api/", "/api/studies/1.2.3/nothing"])
def test_an_unknown_call_is_a_problem(console: ConsoleServer, path: str) -> None:
    for client in (console.anonymous(), console.with_token(*EVERYONE)):
        _problem(client.get(path), 404)


def test_a_method_that_isnt_there_is_named_with_those_that_are(console: ConsoleServer) -> None:
    client = console.with_token(*EVERYONE)
    answer = client.delete("/api/notifications")
    _problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.options("/api/notifications").headers["allow"] == "GET, HEAD, OPTIONS"
    _problem(client.options("/api/nothing"), 404)
    head = client.head("/api/notifications")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == "application/json"
    _problem(client.get("/api/notifications/1/retry"), 405)


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 422),
        (b'{"a": "\xff"}', "application/json", (400, 422)),
        (b"a=%00", "application/x-www-form-urlencoded", 422),
        (b'{"a": "\\u0000"}', "application/json", 422),
        (b"\x00", "application/json", 422),
        (b"<a/>", "application/xml", 415),
        (b"a", "", 415),
    ],
)
def test_a_body_that_cant_be_used_is_a_problem(
    console: ConsoleServer, content: bytes, content_type: str, status: int | tuple[int, ...]
) -> None:
    client = console.with_token(*EVERYONE)
    headers = {"Content-Type": content_type} if content_type else {}
    for path, method, operation in operations(_document(console)):
        if "application/json" not in operation.get("requestBody", {}).get("content", {}):
            continue
        address = path.replace("{", "").replace("}", "")
        answer = client.request(method, address, content=content, headers=headers)
        allowed = status if isinstance(status, tuple) else (status,)
        assert answer.status_code in {*allowed, 404}, f"{method} {path}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("value", ["%00", "%ff%fe", "%ed%a0%80", "9" * 400, "-1", "1e999", "%2e%2e", "%F0%9F%98%80"])
def test_no_parameter_breaks_a_call(console: ConsoleServer, value: str) -> None:
    client = console.with_token(*EVERYONE)
    for path, method, operation in operations(_document(console)):
        if method != "get":
            continue
        address = "".join(value if part.startswith("{") else part for part in _split(path))
        names = [item["name"] for item in operation.get("parameters", ()) if item["in"] == "query"]
        for query in ["", *(f"?{name}={value}" for name in names)]:
            answer = client.get(address + query)
            assert answer.status_code < 500, f"{address}{query}: {answer.text}"


def _split(path: str) -> list[str]:
    return path.replace("{", "\n{").replace("}", "}\n").split("\n")


def test_pages_refuse_nul_too(console: ConsoleServer) -> None:
    assert console.anonymous().get("/sign-in?next=%00").status_code == 422
    form = {"user_name": "a\x00", "password": "b"}
    assert console.anonymous().post("/sign-in", data=form).status_code == 422


def test_the_reference_shows_every_call(console: ConsoleServer) -> None:
    assert console.anonymous().get("/api-reference").status_code == 303
    page = console.signed_in(Role.VIEWER).get("/api-reference").text
    for path, method, _operation in operations(_document(console)):
        assert f"{method.upper()}</span> <code>{path}</code>" in page.replace("&#123;", "{"), path


def test_notifications_are_listed_and_retried(tmp_path: Path) -> None:
    from tests.integration.test_notifications import FAKE, world

    with world(tmp_path, "", {"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:9/"}) as node:
        node.assess("1.2.3", 1, FAKE)
        with running_console(node.settings) as console:
            client = console.with_token(Role.ADMINISTRATOR)
            [row] = client.get("/api/notifications", params={"state": "waiting"}).json()["rows"]
            assert (row["target"], row["study_instance_uid"], row["verdict"]) == ("hook", "1.2.3", "fake")
            assert client.get("/api/notifications", params={"state": "dead"}).json() == {"rows": [], "older": None}
            _problem(client.get("/api/notifications", params={"state": "lost"}), 422)
            number = row["notification_id"]
            answer = client.post(f"/api/notifications/{number}/retry")
            assert answer.json() == {"notification_id": number}
            _problem(client.post("/api/notifications/999/retry"), 409)
            _problem(console.with_token(Role.AUDITOR).post(f"/api/notifications/{number}/retry"), 403)
            person = console.signed_in(Role.ADMINISTRATOR)
            page = person.get("/node/notifications")
            assert page.status_code == 200
            assert "hook" in page.text
            assert person.post(f"/node/notifications/{number}/retry").status_code == 303
            assert console.signed_in(Role.AUDITOR).post(f"/node/notifications/{number}/retry").status_code == 403
        assert [kind for kind, _ in node.events()] == ["notification-retried"] * 2
