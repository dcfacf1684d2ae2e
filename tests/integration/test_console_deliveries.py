"""The outgoing queue in the console: the command line's columns, pages by key, dead letters sent again."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import transaction
from medfake_pacs.database.tables import audit_events, deliveries, delivery_attempts
from medfake_pacs.delivery.wording import DELIVERY_COLUMNS
from tests.console_support import ConsoleServer, console_settings, running_console

_PACS = {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 1}
_NUMBER = 120


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on a queue: of each four deliveries one is dead, one waits, two are sent."""
    with running_console(console_settings(tmp_path, database_url, {"destinations": [_PACS]})) as running:
        rows = [_delivery(number) for number in range(1, _NUMBER + 1)]
        with transaction(running.engine) as connection:
            connection.execute(sa.insert(deliveries), rows)
            attempt = {"delivery_id": 1, "number": 1, "attempted_at": 5.0, "status": 0xA700, "succeeded": False}
            connection.execute(sa.insert(delivery_attempts).values(attempt | {"comment": "0xA700: \x1b[31mfull"}))
        yield running


def _delivery(number: int) -> dict[str, object]:
    state = ("sent", "dead", "waiting", "sent")[number % 4]
    return {
        "delivery_id": number, "report_uid": f"1.9.{number}", "study_instance_uid": f"1.2.{number // 10}",
        "destination": "pacs" if number % 3 else "gone", "state": state, "attempts": 1, "created_at": 1.0,
        "next_attempt_at": time.time(), "finished_at": None if state == "waiting" else 2.0, "last_status": 0xA700,
        "last_comment": "0xA700: \x1b[31mfull" if state != "sent" else "",
    }  # fmt: skip


def _expected(**conditions: object) -> list[int]:
    rows = [_delivery(number) for number in range(_NUMBER, 0, -1)]
    return [
        int(str(row["delivery_id"])) for row in rows if all(row[name] == value for name, value in conditions.items())
    ]


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"state": "dead"},
        {"state": "sent", "destination": "pacs"},
        {"destination": "gone"},
        {"study_instance_uid": "1.2.3"},
        {"study_instance_uid": "1.2.3", "state": "waiting"},
    ],
)
def test_pages_by_key_reach_everything_once_in_both_directions(
    console: ConsoleServer, conditions: dict[str, str]
) -> None:
    client = console.with_token(Role.AUDITOR)
    asked = {"limit": 7} | {name.removesuffix("_instance_uid"): value for name, value in conditions.items()}
    seen: list[int] = []
    page = client.get("/api/deliveries", params=asked).json()
    assert page["newer"] is None
    pages = [[row["delivery_id"] for row in page["deliveries"]]]
    while page["older"]:
        page = client.get("/api/deliveries", params=asked | {"before": page["older"]}).json()
        pages.append([row["delivery_id"] for row in page["deliveries"]])
    seen = [number for each in pages for number in each]
    assert seen == _expected(**conditions)
    backwards = [pages[-1]]
    while page["newer"]:
        page = client.get("/api/deliveries", params=asked | {"after": page["newer"]}).json()
        if page["deliveries"]:
            backwards.insert(0, [row["delivery_id"] for row in page["deliveries"]])
    assert [number for each in backwards for number in each] == seen


def test_the_page_has_the_command_lines_columns_and_escapes(console: ConsoleServer) -> None:
    client = console.signed_in(Role.AUDITOR)
    page = client.get("/node/deliveries?state=dead").text
    for column in DELIVERY_COLUMNS:
        assert f'<th scope="col">{column}</th>' in page
    assert "dead letter" in page
    assert "0xA700" in page
    assert "\x1b" not in page
    assert "again" not in client.get("/node/deliveries/1").text
    assert client.post("/node/deliveries/1/retry").status_code == 403


def test_one_dead_letter_is_sent_again_and_the_log_says_who_did_it(console: ConsoleServer) -> None:
    client = console.signed_in(Role.ADMINISTRATOR, name="ada")
    assert "Send delivery 1 again" in client.get("/node/deliveries/1").text
    assert "1 to be tried at once: 1" in client.post("/node/deliveries/1/retry").text
    with console.engine.connect() as connection:
        assert (
            connection.execute(sa.select(deliveries.c.state).where(deliveries.c.delivery_id == 1)).scalar() == "waiting"
        )
        query = sa.select(audit_events.c.payload).where(audit_events.c.kind == "delivery-retried")
        [payload] = connection.execute(query).scalars()
    facts = json.loads(payload)["payload"]
    assert (facts["who"], facts["delivery_id"], facts["destination"]) == ("ada", 1, "pacs")
    sent = client.post("/node/deliveries/4/retry")
    assert sent.status_code == 409
    assert "4: no delivery with this number is waiting, a dead letter or dismissed" in sent.text


def test_all_dead_letters_of_a_destination_after_a_question(console: ConsoleServer) -> None:
    client = console.signed_in(Role.ADMINISTRATOR)
    dead = _expected(state="dead", destination="pacs")
    question = client.get("/node/deliveries/retry?destination=pacs").text
    assert f"{len(dead)} dead letters for pacs will be tried at once" in question
    done = client.post("/node/deliveries/retry?destination=pacs").text
    assert f"{len(dead)} to be tried at once" in done
    left = client.get("/node/deliveries/retry?destination=pacs").text
    assert "There are no dead letters for pacs." in left
    with console.engine.connect() as connection:
        query = sa.select(deliveries.c.destination).distinct().where(deliveries.c.state == "dead")
        assert list(connection.execute(query).scalars()) == ["gone"]


def _states(console: ConsoleServer, destination: str) -> set[str]:
    with console.engine.connect() as connection:
        query = sa.select(deliveries.c.state).where(deliveries.c.destination == destination)
        return set(connection.execute(query).scalars())


def test_what_is_for_a_removed_destination_is_not_put_back_and_the_remedy_is_said(console: ConsoleServer) -> None:
    client = console.signed_in(Role.ADMINISTRATOR)
    remedy = "add one with this name to [[destinations]], or dismiss what is for it"
    dead = _expected(state="dead", destination="gone")
    refused = client.post("/node/deliveries/retry?destination=gone")
    assert refused.status_code == 409
    assert f"{len(dead)} left: no destination is named &#39;gone&#39; any more; {remedy}" in refused.text
    one = console.with_token(Role.ADMINISTRATOR).post(f"/api/deliveries/{dead[0]}/retry")
    assert one.status_code == 409
    assert one.json()["detail"] == f"{dead[0]}: no destination is named 'gone' any more; {remedy}"
    everything = client.post("/node/deliveries/retry").text
    assert f"{len(_expected(state='dead', destination='pacs'))} to be tried at once" in everything
    assert remedy in everything
    assert _states(console, "gone") == {"dead", "waiting", "sent"}
    page = client.get(f"/node/deliveries/{dead[0]}").text
    assert remedy in page
    assert "Send delivery" not in page


def test_a_dead_letter_is_dismissed_after_a_question_and_no_trouble_any_more(console: ConsoleServer) -> None:
    client, caller = console.signed_in(Role.ADMINISTRATOR, name="ada"), console.with_token(Role.ADMINISTRATOR)
    dead = _expected(state="dead", destination="gone")

    def counted() -> float:
        console.services.answers.forget()
        line = 'medfake_deliveries{destination="gone",state="dead"} '
        found = [each for each in console.anonymous().get("/metrics").text.splitlines() if each.startswith(line)]
        return float(found[0].removeprefix(line)) if found else 0

    assert counted() == len(dead)
    assert f"/node/deliveries/{dead[0]}/dismiss" in client.get(f"/node/deliveries/{dead[0]}").text
    assert "Dismiss delivery" in client.get(f"/node/deliveries/{dead[0]}/dismiss").text
    assert f"1 dismissed: {dead[0]}" in client.post(f"/node/deliveries/{dead[0]}/dismiss").text
    for number in dead[1:]:
        assert caller.post(f"/api/deliveries/{number}/dismiss").json()["text"] == f"1 dismissed: {number}"
    assert counted() == 0
    node = caller.get("/api/node").json()
    assert [letters["destination"] for letters in node["dead_letters"]] == ["pacs"]
    assert not [part for part in node["parts"] if "dead letters for gone" in part["text"]]
    again = caller.post(f"/api/deliveries/{dead[0]}/dismiss")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        f"{dead[0]}: no delivery with this number is a dead letter",
    )
    listed = caller.get("/api/deliveries?state=dismissed").json()["deliveries"]
    assert [row["delivery_id"] for row in listed] == dead
    assert "dismissed" in client.get("/node/deliveries?state=dismissed&destination=gone").text
    with console.engine.connect() as connection:
        query = sa.select(audit_events.c.payload).where(audit_events.c.kind == "delivery-dismissed")
        found = [json.loads(each)["payload"] for each in connection.execute(query).scalars()]
    assert sorted(facts["delivery_id"] for facts in found) == sorted(dead)
    assert found[0]["who"] == "ada"
    assert console.signed_in(Role.AUDITOR).post(f"/node/deliveries/{dead[0]}/dismiss").status_code == 403


def test_what_waits_for_a_removed_destination_is_seen(console: ConsoleServer) -> None:
    waiting = len(_expected(state="waiting", destination="gone"))
    node = console.with_token(Role.ADMINISTRATOR).get("/api/node").json()
    [queue] = [item for item in node["queues"] if item["destination"] == "gone"]
    assert queue["depth"]["value"] == waiting
    assert f"{waiting} reports wait for gone, and no destination has this name" in [p["text"] for p in node["parts"]]
    metrics = console.anonymous().get("/metrics").text
    assert f'medfake_deliveries{{destination="gone",state="waiting"}} {waiting}.0' in metrics


def test_attempts_by_json_and_page(console: ConsoleServer) -> None:
    found = console.with_token(Role.ADMINISTRATOR).get("/api/deliveries/1").json()
    assert [(item["number"], item["status"]) for item in found["history"]] == [(1, 0xA700)]
    assert "0xA700" in console.signed_in(Role.AUDITOR).get("/node/deliveries/1").text


@pytest.mark.parametrize(
    "path",
    ["/api/deliveries/0", f"/api/deliveries/{2**63}", "/api/deliveries?before=x", "/api/deliveries?state=lost"],
)
def test_what_is_no_number_or_state_is_said_to_be_wrong(console: ConsoleServer, path: str) -> None:
    answer = console.with_token(Role.ADMINISTRATOR).get(path)
    assert answer.status_code == 422
    assert answer.json()["fields"]
