"""Health: the process answers; ready only when database, tables, spool, worker and receivers are."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.config.notes import notes
from medfake_pacs.console.process import NO_ADMINISTRATOR
from medfake_pacs.database import transaction
from medfake_pacs.database.heartbeat import STALE_HEARTBEAT_S, beat
from medfake_pacs.database.tables import nodes
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.node import NodeProcess
from tests.support import wait_for


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on a node whose worker and receiver have just given a sign of life."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        for name in ("receiver-0", "worker"):
            beat(running.engine, f"{running.settings.node_id}/{name}", name.partition("-")[0])
        yield running


def _failing(console: ConsoleServer) -> dict[str, str]:
    console.services.answers.forget()
    answer = console.anonymous().get("/readyz")
    found = answer.json()
    assert answer.status_code == (200 if found["ready"] else 503)
    assert found["ready"] is not bool(found["failing"])
    return {item["check"]: item["reason"] for item in found["failing"]}


def test_a_node_that_works_is_ready(console: ConsoleServer) -> None:
    assert _failing(console) == {}
    answer = console.anonymous().get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_a_silent_worker_and_no_receiver(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        stale = time.time() - STALE_HEARTBEAT_S - 5
        connection.execute(sa.update(nodes).where(nodes.c.role == "worker").values(heartbeat_at=stale))
        connection.execute(sa.delete(nodes).where(nodes.c.role == "receiver"))
    assert set(_failing(console)) == {"workers", "receivers"}


def test_tables_of_another_version(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    assert set(_failing(console)) == {"migrations"}


def test_a_spool_without_room_and_one_that_is_gone(tmp_path: Path) -> None:
    settings = console_settings(tmp_path, "", {"spool": {"min_free_bytes": 10**18}})
    with running_console(settings) as console:
        assert _failing(console)["spool"] == "less room than spool.min_free_bytes"
        settings.checks_dir.rmdir()
        settings.reports_dir.rmdir()
        settings.spool_dir.rmdir()
        assert _failing(console)["spool"] == "its folder can't be seen"
        assert console.anonymous().get("/healthz").status_code == 200


def test_a_model_that_a_route_names_and_that_can_not_be_used(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("broken", "removed", "unused"):
        (models / name).mkdir(parents=True)
        (models / name / "card.json").write_text("{}", encoding="utf-8")
    routes = [{"name": name, "modality": ["CT"], "model": name} for name in ("broken", "removed")]
    settings = console_settings(tmp_path, "", {"scoring": {"models_dir": str(models)}, "routes": routes})
    (models / "removed" / "card.json").unlink()
    (models / "removed").rmdir()
    with running_console(settings) as console:
        reason = "a route names what can't be used: 'broken' is damaged, 'removed' is not installed"
        assert _failing(console)["models"] == reason


def test_a_database_that_is_gone(tmp_path: Path) -> None:
    settings = console_settings(tmp_path)
    with running_console(settings) as console:
        console.engine.dispose()
        for path in settings.node.state_dir.glob("medfake.db*"):
            path.unlink()
        failing = _failing(console)
        assert set(failing) & {"database", "migrations"}
        assert str(tmp_path) not in str(failing)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_whole_node_is_ready_and_says_where_its_console_is(make_node: Callable[..., NodeProcess]) -> None:
    node = make_node(console=True, routes="").start()

    def ready() -> bool:
        with socket.create_connection(("127.0.0.1", node.console_port), timeout=5) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")

    wait_for(ready, 60, "the node to be ready")
    lines = {line["event"]: line for line in node.log_lines()}
    assert lines["console listening"]["url"] == f"http://127.0.0.1:{node.console_port}"
    assert NO_ADMINISTRATOR in lines
    assert {row.node_id.rpartition("/")[2] for row in node.rows("nodes")} == {"receiver-0", "worker", "console"}
    assert node.stop() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_taken_port_keeps_only_the_console_back(make_node: Callable[..., NodeProcess]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = make_node(extra=f"[console]\nport = {port}\n", routes="").start()
        said = "the console can't listen"
        wait_for(lambda: any(line["event"] == said for line in node.log_lines()), 60, "the console to complain")
        line = next(line for line in node.log_lines() if line["event"] == said)
        assert (line["port"], line["reason"]) == (port, "Address already in use")
        assert "change console.port" in line["remedy"]
        assert node.is_listening()
        assert not node.is_dead()


def test_the_configurations_notes_on_the_console(tmp_path: Path) -> None:
    def said(**console: object) -> str:
        return " ".join(
            note for note in notes(console_settings(tmp_path, "", {"console": console})) if "onsole" in note
        )

    assert said() == ""
    assert "without TLS" in said(host="0.0.0.0")
    assert "/metrics" in said(host="0.0.0.0")
    assert "without TLS" not in said(host="0.0.0.0", public_url="https://medfake.example")
    assert "registration is open" in said(registration="open")
    assert said(host="0.0.0.0", registration="open", enabled=False) == ""
