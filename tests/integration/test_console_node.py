"""The node page and its REST API: why did something not arrive? The rule tester, the configuration, the models."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.config.digest import configuration_digest
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import transaction
from medfake_pacs.database.heartbeat import beat
from medfake_pacs.database.tables import associations, audit_events, instances, nodes, studies
from medfake_pacs.entities import AuditEvent
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.delivery_peers import scripted_peer
from tests.material import ct_series
from tests.support import free_port

ROUTE = {"name": "chest CT", "modality": ["CT"], "body_part": ["CHEST"], "model": "lung-ct", "send_to": ["pacs"]}


def _extra(tmp_path: Path, port: int = 1) -> dict[str, object]:
    pacs = {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port, "timeout_s": 5}
    return {
        "node": {"state_dir": str(tmp_path / "state"), "receivers": 2},
        "peers": [{"ae_title": "PACS1", "hosts": ["127.0.0.1"]}, {"ae_title": "PACS2", "hosts": ["10.0.0.0/8"]}],
        "destinations": [pacs],
        "routes": [ROUTE],
        "audit": {"anchor_file": str(tmp_path / "anchor.jsonl")},
    }


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on a node whose processes live."""
    with running_console(console_settings(tmp_path, database_url, _extra(tmp_path))) as running:
        _live(running)
        yield running


def _live(console: ConsoleServer) -> None:
    for name in ("receiver-0", "receiver-1", "worker", "console"):
        beat(console.engine, f"{console.settings.node_id}/{name}", name.partition("-")[0], started_at=time.time())


def _log(console: ConsoleServer, *events: AuditEvent) -> None:
    with transaction(console.engine) as connection:
        for event in events:
            audit.append(connection, event)


def _node(console: ConsoleServer) -> dict[str, object]:
    answer = console.with_token(Role.ADMINISTRATOR).get("/api/node")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def _part(console: ConsoleServer, name: str) -> list[dict[str, str]]:
    return [part for part in _node(console)["parts"] if part["name"] == name]  # type: ignore[attr-defined]


def test_a_node_that_lives_is_well(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        audit.append(connection, AuditEvent(kind="node-started"))
        audit.write_anchor(connection, console.settings.anchor_file or Path())
    node = _node(console)
    assert [part for part in node["parts"] if part["state"] != "good"] == []  # type: ignore[attr-defined]
    assert "All well" in console.signed_in(Role.ADMINISTRATOR).get("/node").text


def test_a_silent_process_is_named_also_of_another_machine(console: ConsoleServer) -> None:
    long_ago = time.time() - 300
    with transaction(console.engine) as connection:
        mine = nodes.c.node_id == f"{console.settings.node_id}/receiver-1"
        connection.execute(sa.update(nodes).where(mine).values(heartbeat_at=long_ago))
        other = {"node_id": "elsewhere:104/worker", "role": "worker", "process_id": 1, "started_at": long_ago}
        connection.execute(sa.insert(nodes).values(other | {"heartbeat_at": long_ago}))
    [receivers] = _part(console, "receivers")
    assert receivers["state"] == "bad"
    assert "receiver-1 silent for 5 min" in receivers["text"]
    [workers] = _part(console, "workers")
    assert "1 alive; elsewhere:104/worker silent" in workers["text"]
    page = console.signed_in(Role.AUDITOR).get("/node").text
    assert "elsewhere:104" in page
    assert "silent" in page


def test_without_a_worker_it_says_what_does_not_happen(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        connection.execute(sa.delete(nodes).where(nodes.c.role == "worker"))
    [workers] = _part(console, "workers")
    assert workers["state"] == "bad"
    assert "nothing is scored" in workers["text"]


def test_rejections_come_with_their_remedy(console: ConsoleServer) -> None:
    facts = {"calling_ae_title": "CT9", "called_ae_title": "MEDFAKE", "host": "10.9.8.7", "tls_subject": ""}
    unknown = AuditEvent(
        kind="association-rejected", ae_title="CT9", payload={**facts, "reason": "calling AE title unknown"}
    )
    elsewhere = AuditEvent(
        kind="association-rejected",
        ae_title="PACS1",
        payload={**facts, "calling_ae_title": "PACS1", "reason": "calling AE title known, but not from this address"},
    )
    not_kept = AuditEvent(
        kind="object-not-kept",
        ae_title="PACS1",
        payload={"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.59", "count": 3, "own_report": False, "peer": facts},
    )
    flood = AuditEvent(kind="association-rejected", payload={"suppressed": 41})
    _log(console, unknown, unknown, elsewhere, not_kept, flood)
    groups = {item["reason"]: item for item in _node(console)["troubles"]["groups"]}  # type: ignore[index]
    stranger = groups["calling AE title unknown"]
    assert (stranger["count"], stranger["sender"]) == (2, "CT9 from 10.9.8.7")
    assert "add 'CT9' with hosts = [\"10.9.8.7\"] to [[peers]]" in stranger["remedy"]
    known = groups["calling AE title known, but not from this address"]
    assert "add 10.9.8.7 to the hosts of 'PACS1'" in known["remedy"]
    assert groups["Key Object Selection Document Storage is no image"]["count"] == 3
    assert groups["too many to log each"]["count"] == 41
    page = console.signed_in(Role.ADMINISTRATOR).get("/node").text
    assert "add &#39;CT9&#39; with hosts" in page


def test_what_a_sender_calls_itself_is_text_on_the_page(console: ConsoleServer) -> None:
    title = "<img src=x>"
    facts = {
        "calling_ae_title": title,
        "called_ae_title": title,
        "host": "10.0.0.1",
        "reason": "calling AE title unknown",
    }
    _log(console, AuditEvent(kind="association-rejected", ae_title=title, payload=facts))
    page = console.signed_in(Role.ADMINISTRATOR).get("/node").text
    assert title not in page
    assert "&lt;img src=x&gt;" in page


def test_queues_ages_throughput_and_the_last_association_of_a_peer(console: ConsoleServer) -> None:
    now = time.time()
    sent = {
        "association_id": "a", "node_id": f"{console.settings.node_id}/receiver-0", "calling_ae_title": "PACS1",
        "called_ae_title": "MEDFAKE", "host": "127.0.0.1", "opened_at": now - 50, "closed_at": now - 40,
        "ending": "released", "objects_kept": 7, "objects_not_kept": 1,
    }  # fmt: skip
    still_open = sent | {"association_id": "b", "calling_ae_title": "PACS2", "closed_at": None, "ending": ""}
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(studies).values(study_instance_uid="1.2", opened_at=now - 7200))
        for number, received_at in enumerate((now - 5000, now - 500, now - 30, now - 20)):
            connection.execute(sa.insert(instances).values(_instance(number, received_at)))
        connection.execute(sa.insert(associations), [sent, still_open])
    _log(console, *(AuditEvent(kind="image-scored") for _ in range(6)))
    node = _node(console)
    queues = {item["name"]: item for item in node["queues"]}  # type: ignore[attr-defined]
    assert queues["arriving"]["depth"] == {"value": 1, "more": False}
    assert queues["images"]["depth"]["value"] == 4
    assert queues["images"]["oldest_at"] == pytest.approx(now - 5000)
    minute, ten, hour = node["throughput"]  # type: ignore[misc]
    assert (minute["objects_per_minute"], minute["bytes_per_minute"]) == (2, 2000)
    assert ten["objects_per_minute"] == pytest.approx(0.3)
    assert hour["objects_per_minute"] == pytest.approx(3 / 60)
    assert minute["images_scored_per_minute"] == 6
    peers = {item["ae_title"]: item["last"] for item in node["peers"]}  # type: ignore[attr-defined]
    assert (peers["PACS1"]["ending"], peers["PACS1"]["objects_kept"]) == ("released", 7)
    assert node["associations_open"]["value"] == 1  # type: ignore[index]
    late = [part["text"] for part in _part(console, "queues")]
    assert any("1 studies that are arriving, the oldest for 2 h" in text for text in late)


def _instance(number: int, received_at: float) -> dict[str, object]:
    return {
        "sop_instance_uid": f"1.2.{number}", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "study_instance_uid": "1.2",
        "series_instance_uid": "1.2.3", "transfer_syntax_uid": "1.2.840.10008.1.2", "content_sha256": f"{number:064}",
        "size_bytes": 1000, "path": f"objects/{number}", "calling_ae_title": "PACS1", "called_ae_title": "MEDFAKE",
        "host": "127.0.0.1", "received_at": received_at,
    }  # fmt: skip


def test_echo_says_what_the_command_line_says_and_is_logged(tmp_path: Path) -> None:
    with scripted_peer() as peer:
        settings = console_settings(tmp_path, "", _extra(tmp_path, peer.port))
        with running_console(settings) as console:
            answer = console.signed_in(Role.ADMINISTRATOR, name="ada").post("/node/destinations/pacs/echo")
            assert f"pacs: ARCHIVE at 127.0.0.1:{peer.port} answered in" in answer.text
            with console.engine.connect() as connection:
                query = sa.select(audit_events.c.payload).where(audit_events.c.kind == "destination-echoed")
                [payload] = connection.execute(query).scalars()
            facts = json.loads(payload)["payload"]
            assert (facts["who"], facts["destination"], facts["answered"]) == ("ada", "pacs", True)


def test_echo_of_a_dead_destination_gives_the_reason(tmp_path: Path) -> None:
    port = free_port()
    with running_console(console_settings(tmp_path, "", _extra(tmp_path, port))) as console:
        client = console.with_token(Role.ADMINISTRATOR)
        found = client.post("/api/destinations/pacs/echo").json()
        assert (found["answered"], found["text"]) == (False, f"pacs: connection refused by 127.0.0.1:{port}")
        unknown = client.post("/api/destinations/none/echo")
        assert unknown.status_code == 404
        assert unknown.json()["detail"] == "no destination is named 'none'; known: pacs"


def test_only_who_may_act_sees_and_uses_the_buttons(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR)
    assert "/echo" not in auditor.get("/node").text
    assert auditor.post("/node/destinations/pacs/echo").status_code == 403
    assert console.signed_in(Role.VIEWER).get("/node").status_code == 403
    assert "/echo" in console.signed_in(Role.ADMINISTRATOR).get("/node").text


def test_the_configuration_in_force_and_whether_the_file_differs(tmp_path: Path, database_url: str) -> None:
    hook = {"name": "chat", "kind": "webhook", "url": "https://hooks.example/services/T0/SECRETPART"}
    document = {**_extra(tmp_path), "notifications": [hook]}
    settings = console_settings(tmp_path, database_url, document)
    path = tmp_path / "medfake.toml"
    path.write_text("[node]\nport = 99999\n")
    with running_console(settings, path) as console:
        digest = configuration_digest(settings)
        _log(console, AuditEvent(kind="configuration-loaded", payload={"sha256": digest}))
        client = console.signed_in(Role.ADMINISTRATOR)
        page = client.get("/node/configuration").text
        assert digest in page
        assert "SECRETPART" not in page
        assert "https://hooks.example/(not shown)" in page
        assert "[[routes]]" in page
        assert "a restart would fail" in page
        assert "node.port = 99999" in page
        path.write_text("[node]\nport = 4711\n")
        assert "something else than what runs" in client.get("/node/configuration").text


def test_the_models_with_card_digest_and_damage(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "broken").mkdir(parents=True)
    (models / "broken" / "card.json").write_text("{}")
    (models / "broken" / "README.md").write_text("# <script>alert(1)</script>")
    extra = _extra(tmp_path) | {"scoring": {"models_dir": str(models)}, "routes": []}
    with running_console(console_settings(tmp_path, "", extra)) as console:
        page = console.signed_in(Role.ADMINISTRATOR).get("/node").text
        assert "broken: damaged:" in page
        assert "<script>alert" not in page
        client = console.with_token(Role.ADMINISTRATOR)
        assert client.get("/api/models/broken").json()["error"].startswith(str(models / "broken"))
        assert client.get("/api/models/none").status_code == 404


def test_shipped_models_show_their_figures(console: ConsoleServer) -> None:
    found = console.with_token(Role.ADMINISTRATOR).get("/api/models/lung-ct").json()
    assert len(found["model_sha256"]) == 64
    assert found["routes"] == ["chest CT"]
    assert found["figures"]
    assert found["model_sha256"] in console.signed_in(Role.ADMINISTRATOR).get("/node").text


def test_the_rule_tester_says_what_route_test_says(console: ConsoleServer, tmp_path: Path) -> None:
    client = console.signed_in(Role.ADMINISTRATOR)
    fields = {"modality": "CT", "body_part": "KNEE"}
    page = client.post("/node/route-test", data=fields, files={"file": ("", b"")}).text
    assert "No route takes it" in page
    assert "Body Part Examined is &#39;KNEE&#39;, wanted CHEST" in page
    page = client.post("/node/route-test", data=fields | {"body_part": "CHEST"}, files={"file": ("", b"")}).text
    assert "It takes the route chest CT" in page
    path = tmp_path / "slice.dcm"
    [dataset] = ct_series(1)
    dataset.BodyPartExamined = "CHEST"
    dataset.save_as(path, enforce_file_format=True)
    page = client.post("/node/route-test", files={"file": ("slice.dcm", path.read_bytes())}).text
    assert "from PACS1 to MEDFAKE: Modality CT, Body Part Examined CHEST" in page
    assert not list(console.settings.checks_dir.iterdir())


def test_the_rule_tester_keeps_the_input_and_refuses_what_it_can_not_read(console: ConsoleServer) -> None:
    client = console.signed_in(Role.ADMINISTRATOR)
    answer = client.post("/node/route-test", data={"calling": "CT9"}, files={"file": ("x.dcm", b"<svg/>" * 99)})
    assert answer.status_code == 422
    assert "no DICOM file" in answer.text
    assert 'value="CT9"' in answer.text
    large = client.post("/node/route-test", files={"file": ("x.dcm", b"0" * 64_200_000)})
    assert large.status_code == 413
    assert not list(console.settings.checks_dir.iterdir())


def test_the_rule_tester_by_json(console: ConsoleServer) -> None:
    client = console.with_token(Role.ADMINISTRATOR)
    found = client.post("/api/route-test", json={"modality": "CT", "study_description": "Chest native"}).json()
    assert (found["route"], found["model"], found["send_to"]) == ("chest CT", "lung-ct", ["pacs"])
    assert found["lines"][-1] == "report to: pacs"
    assert client.post("/api/route-test", json={"modalty": "CT"}).status_code == 422
