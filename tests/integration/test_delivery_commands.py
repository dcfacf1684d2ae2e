"""``deliveries list``, ``deliveries retry`` and ``echo`` as an administrator uses them."""

import argparse
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from pynetdicom.sop_class import CTImageStorage

from medfake_pacs.config import Settings, parse_settings
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.tables import reports
from medfake_pacs.delivery import due, enqueue, record
from medfake_pacs.delivery.commands import add_arguments
from medfake_pacs.entities import Delivery, Report
from tests.delivery_peers import scripted_peer
from tests.support import free_port


def _run(settings: Settings, *words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser.add_subparsers())
    args = parser.parse_args(words)
    return int(args.run(settings, args))


def _settings(base: Path, port: int) -> Settings:
    pacs = {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port, "timeout_s": 2}
    return parse_settings({"node": {"state_dir": "state"}, "destinations": [pacs]}, base=base)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A node whose reports 1 to 3 are sent, waiting after a failure, and dead."""
    settings = _settings(tmp_path, free_port())
    engine = open_engine(settings.database_url)
    upgrade(engine)
    retry = settings.destinations[0].retry
    for number in (1, 2, 3):
        report = Report(
            sop_instance_uid=f"1.9.{number}",
            sop_class_uid="1.88.34",
            study_instance_uid=f"1.2.{number}",
            revision=1,
            path=tmp_path / "report.dcm",
            sha256="ab" * 32,
        )
        row = {name: getattr(report, name) for name in report.__slots__} | {"path": str(report.path), "created_at": 1.0}
        with transaction(engine) as connection:
            connection.execute(sa.insert(reports).values(row))
            enqueue(connection, report, ["pacs"], 1000.0)
    moments = {1: 1001.0, 2: 1001.0, 3: 1001.0 + retry.give_up_after_s}
    with transaction(engine) as connection:
        for item in due(connection, "pacs", 1001.0, 10):
            number = item.delivery_id
            outcome = Delivery(
                delivery_id=number,
                report_uid=item.report_uid,
                destination="pacs",
                sop_class_uid="1.88.34",
                status=0 if number == 1 else 0xC000,
                succeeded=number == 1,
                comment="" if number == 1 else "0xC000 Failure: \x1b[31mno",
                attempt=1,
                sent_sop_instance_uid=f"1.9.{number}.33",
                sent_sha256="cd" * 32,
            )
            record(connection, outcome, retry, moments[number])
    engine.dispose()
    return settings


def _listed(settings: Settings, capsys: pytest.CaptureFixture[str], *words: str) -> dict[int, str]:
    assert _run(settings, "deliveries", "list", "--format", "json", *words) == 0
    return {each["delivery_id"]: each["state"] for each in json.loads(capsys.readouterr().out)["deliveries"]}


def test_the_list_and_its_filters(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert _listed(settings, capsys) == {1: "sent", 2: "waiting", 3: "dead"}
    assert _listed(settings, capsys, "--state", "dead") == {3: "dead"}
    assert _listed(settings, capsys, "--study", "1.2.2") == {2: "waiting"}
    assert _listed(settings, capsys, "--destination", "pacs", "--state", "sent") == {1: "sent"}
    assert _listed(settings, capsys, "--destination", "other") == {}


def test_json_holds_attempts_and_circuits(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    _run(settings, "deliveries", "list", "--format", "json", "--attempts")
    document = json.loads(capsys.readouterr().out)
    [destination] = document["destinations"]
    assert (destination["name"], destination["state"], destination["failures"]) == ("pacs", "closed", 0)
    [attempt] = document["deliveries"][1]["history"]
    assert (attempt["number"], attempt["status"], attempt["succeeded"]) == (1, 0xC000, False)
    assert attempt["sent_sop_instance_uid"] == "1.9.2.33"


def test_a_dead_letter_is_dismissed_and_brought_back(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(settings, "deliveries", "dismiss", "2", "3") == 1
    output = capsys.readouterr()
    assert output.out == "1 dismissed: 3\n"
    assert output.err == "2: no delivery with this number is a dead letter\n"
    assert _listed(settings, capsys, "--state", "dismissed") == {3: "dismissed"}
    assert _run(settings, "deliveries", "retry", "--dead") == 0
    assert capsys.readouterr().out == "0 to be tried at once\n"
    engine = open_engine(settings.database_url)
    with reading(engine) as connection:
        query = sa.text("SELECT payload FROM audit_events WHERE kind = 'delivery-dismissed'")
        [payload] = connection.execute(query).scalars()
    engine.dispose()
    facts = json.loads(payload)["payload"]
    assert (facts["delivery_id"], facts["destination"]) == (3, "pacs")
    assert facts["who"]
    assert _run(settings, "deliveries", "retry", "3") == 0
    assert capsys.readouterr().out == "1 to be tried at once: 3\n"
    assert _listed(settings, capsys, "--state", "waiting") == {2: "waiting", 3: "waiting"}


def test_what_is_for_a_removed_destination_is_not_put_back(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    removed = settings.model_copy(update={"destinations": ()})
    remedy = "add one with this name to [[destinations]], or dismiss what is for it"
    assert _run(removed, "deliveries", "retry", "--dead") == 1
    output = capsys.readouterr()
    assert output.out == "0 to be tried at once\n"
    assert output.err == f"1 left: no destination is named 'pacs' any more; {remedy}\n"
    assert _run(removed, "deliveries", "retry", "2", "3") == 1
    assert f"2, 3: no destination is named 'pacs' any more; {remedy}" in capsys.readouterr().err
    assert _listed(settings, capsys) == {1: "sent", 2: "waiting", 3: "dead"}


def test_the_table_shows_the_order_of_attempts(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(settings, "deliveries", "list", "--attempts") == 0
    table = capsys.readouterr().out
    for text in (
        "closed",
        "1.9.1.33",
        "waiting",
        "dead letter",
        "no. 1",
        "0xC000 Failure",
        "\\x1b[31mno",
        "1970-01-01 00:16:41Z",
    ):
        assert text in table
    assert "\x1b" not in table


def test_retry_by_number_and_of_all_dead(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(settings, "deliveries", "retry", "1", "2") == 1
    output = capsys.readouterr()
    assert "1 to be tried at once: 2" in output.out
    assert "1: no delivery with this number is waiting, a dead letter or dismissed" in output.err
    assert _run(settings, "deliveries", "retry", "--dead") == 0
    assert "1 to be tried at once: 3" in capsys.readouterr().out
    assert _listed(settings, capsys, "--state", "waiting") == {2: "waiting", 3: "waiting"}
    engine = open_engine(settings.database_url)
    with reading(engine) as connection:
        rows = connection.execute(sa.text("SELECT ae_title, payload FROM audit_events WHERE kind = 'delivery-retried'"))
        facts = [(ae_title, json.loads(payload)["payload"]) for ae_title, payload in rows]
    engine.dispose()
    assert [(ae_title, fact["delivery_id"]) for ae_title, fact in facts] == [("ARCHIVE", 2), ("ARCHIVE", 3)]
    assert all(fact["who"] for _, fact in facts)


@pytest.mark.parametrize("words", [(), ("1", "--dead")])
def test_retry_needs_numbers_or_dead(
    settings: Settings, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert _run(settings, "deliveries", "retry", *words) == 2
    assert "--dead" in capsys.readouterr().err


def test_without_a_queue_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(_settings(tmp_path, 104), "deliveries", "list") == 2
    assert "there is no queue yet" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_echo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_peer() as peer:
        assert _run(_settings(tmp_path, peer.port), "echo", "pacs") == 0
    assert "pacs: ARCHIVE at 127.0.0.1" in capsys.readouterr().out
    with scripted_peer(classes=[CTImageStorage]) as peer:
        assert _run(_settings(tmp_path, peer.port), "echo", "pacs") == 1
    assert "accepts none of: Verification" in capsys.readouterr().err
    port = free_port()
    assert _run(_settings(tmp_path, port), "echo", "pacs") == 1
    assert f"pacs: connection refused by 127.0.0.1:{port}" in capsys.readouterr().err
    assert _run(_settings(tmp_path, port), "echo", "pax") == 2
    assert "no destination is named 'pax'; known: pacs" in capsys.readouterr().err
