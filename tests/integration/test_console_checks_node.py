"""Checks on a whole node: console and worker are processes of their own, and the worker may die."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs import crashpoints
from medfake_pacs.console.security import sessions
from medfake_pacs.console.security.permissions import Role, permissions_of
from medfake_pacs.console.security.tokens import PREFIX
from medfake_pacs.database import open_engine, transaction
from medfake_pacs.database.console_tables import api_tokens, users
from tests.console_uploads import ct_files, make_models, upload
from tests.node import NodeProcess
from tests.support import wait_for


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """Yield a node with small models, its console and a destination that nobody is at; not started."""
    models = make_models(tmp_path / "models")
    destinations = [("pacs", "PACS", 104)]
    extra = f'[scoring]\nmodels_dir = "{models}"\n'
    with NodeProcess(tmp_path / "node", destinations=destinations, extra=extra, console=True) as made:
        yield made


def _client(node: NodeProcess) -> httpx.Client:
    """Return a client of the REST API with a token of a new account."""
    secret = PREFIX + secrets.token_urlsafe(32)
    engine = open_engine(node.database_url)
    with transaction(engine) as connection:
        user = {"user_name": "anna", "display_name": "Anna", "roles": "viewer", "state": "active"}
        added = connection.execute(sa.insert(users).values(created_at=time.time(), **user))
        token = {
            "token_sha256": sessions.digest(secret),
            "user_id": added.inserted_primary_key[0],
            "name": "test",
            "scopes": ",".join(sorted(permissions_of([Role.VIEWER]))),
            "created_at": time.time(),
            "expires_at": time.time() + 3600,
        }
        connection.execute(sa.insert(api_tokens).values(token))
    engine.dispose()
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{node.console_port}", timeout=90, headers=headers)


def test_an_upload_is_assessed_and_enters_nothing_else(node: NodeProcess, tmp_path: Path) -> None:
    node.start()
    with _client(node) as client:
        answer = upload(client, ct_files(tmp_path / "study", 3), path="/api/images?wait_s=60")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["state"], found["images_scored"], found["models"][0]["name"]) == ("done", 3, "lung-ct")
        assert client.get(f"{answer.headers['location']}/report").content[128:132] == b"DICM"
    assert not any(node.rows(table) for table in ("instances", "studies", "reports", "deliveries"))
    assert not list((node.state_dir / "spool" / "objects").rglob("*.dcm"))


@pytest.mark.parametrize("point", ["worker.check-scored", "worker.check-assessed", "worker.check-recorded"])
def test_a_check_outlives_the_worker_that_is_killed_with_it(node: NodeProcess, tmp_path: Path, point: str) -> None:
    marker = tmp_path / "crashed"
    node.start({crashpoints.POINT_VARIABLE: point, crashpoints.MARKER_VARIABLE: str(marker)})
    with _client(node) as client:
        address = upload(client, ct_files(tmp_path / "study", 9), path="/api/images").headers["location"]
        wait_for(marker.exists, 180, "the worker to be killed")
        wait_for(lambda: client.get(address).json()["state"] == "done", 180, "another worker to finish the check")
        assert client.get(address).json()["images_scored"] == 9
    (row,) = node.rows("checks")
    assert row.attempts == (1 if point == "worker.check-recorded" else 2)
    assert [event.kind for event in node.rows("audit_events")].count("check-verdict") == 1
