"""The worklist: every filter, order and page gives what a plain search through all studies would; who searched."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.audit.query import AuditFilter
from medfake_pacs.console.queries.worklist import IN_PROGRESS, Order, StudyFilter, choices, page_of_studies
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import deliveries, instances, studies
from tests.console_support import ConsoleServer, console_settings, running_console

NOW = 1_700_000_000.0
DAY = 86_400.0


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        yield running


def add(console: ConsoleServer, *rows: dict[str, Any]) -> None:
    """Put studies into the table; what isn't said is that of a finished study."""
    common = {"revision": 1, "last_received_at": NOW, "first_received_at": NOW, "verdict": "real", "probability": 0.1}
    common |= {
        "patient_id": "P",
        "accession_number": "A",
        "modality": "CT",
        "calling_ae_title": "CT1",
        "verdict_at": NOW,
    }
    common |= {"opened_at": None, "images_total": 3, "images_scored": 2, "verdict_revision": 1}
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(studies), [common | row for row in rows])


def some_studies(count: int) -> list[dict[str, Any]]:
    """Return studies of every kind, many of them with the same value of what is sorted by."""
    chance = random.Random(7)
    rows = []
    for number in range(count):
        verdict = chance.choice(["real", "real", "fake", "indeterminate", "not assessed", ""])
        scored = verdict in {"real", "fake", "indeterminate"}
        row = {
            "study_instance_uid": f"1.2.{number}",
            "first_received_at": NOW - chance.choice([number, 5, 5, 7]) * DAY,
            "verdict": verdict,
            "probability": chance.choice([0.1, 0.5, number / 1000]) if scored else None,
            "verdict_at": NOW - chance.choice([3, number]) if verdict else None,
            "verdict_revision": 1 if verdict else None,
            "revision": 2 if number % 19 == 3 else 1,
            "opened_at": NOW if number % 23 == 5 else None,
            "last_received_at": NOW - (number % 30) * DAY,
            "patient_id": chance.choice(["P1", "P2", f"P{number}"]),
            "accession_number": f"A{number % 40}",
            "modality": chance.choice(["CT", "CT", "DX", "XA"]),
            "calling_ae_title": chance.choice(["CT1", "CT2", "GATE WAY"]),
        }
        rows.append(row)
    return rows


def expected(rows: list[dict[str, Any]], conditions: StudyFilter, order: Order) -> list[str]:
    """Return what a search through all rows finds, in order."""
    wanted = conditions.equalities()
    name = order.column.name

    def matches(row: dict[str, Any]) -> bool:
        received = row["first_received_at"]
        return (
            row[name] is not None
            and all(row[column] == value for column, value in wanted.items())
            and (not conditions.verdicts or bool(words(row) & set(conditions.verdicts)))
            and (conditions.received_from is None or received >= conditions.received_from)
            and (conditions.received_until is None or received < conditions.received_until)
            and (conditions.overdue_s is None or waits_since(row) < NOW - conditions.overdue_s)
        )

    def words(row: dict[str, Any]) -> set[str]:
        return {row["verdict"], IN_PROGRESS} if waits_since(row) < NOW + 1 else {row["verdict"]}

    def waits_since(row: dict[str, Any]) -> float:
        if not row["verdict"]:
            return float(row["first_received_at"])
        reopened = row["opened_at"] is not None or row["revision"] > row["verdict_revision"]
        return float(row["last_received_at"]) if reopened else NOW + DAY

    ordered = sorted(filter(matches, rows), key=lambda row: (row[name], row["study_instance_uid"]))
    return [row["study_instance_uid"] for row in (reversed(ordered) if order.descending else ordered)]


FILTERS: list[dict[str, Any]] = [
    {},
    {"verdicts": ("fake",)},
    {"verdicts": ("fake", IN_PROGRESS)},
    {"verdicts": ("real", "indeterminate", "not assessed")},
    {"modality": "XA"},
    {"ae_title": "GATE WAY"},
    {"patient_id": "P1"},
    {"accession_number": "A3"},
    {"study_instance_uid": "1.2.11"},
    {"received_from": NOW - 60 * DAY, "received_until": NOW - 20 * DAY},
    {"overdue_s": 10 * DAY},
    {"patient_id": "nobody"},
    {"verdicts": (IN_PROGRESS,)},
]


@pytest.mark.parametrize("order", Order)
def test_every_pair_of_filters_in_every_order_pages_through_what_a_plain_search_finds(
    console: ConsoleServer, order: Order
) -> None:
    rows = some_studies(300)
    add(console, *rows)
    for first, second in itertools.combinations(FILTERS, 2):
        conditions = StudyFilter(**first | second)
        wanted = expected(rows, conditions, order)
        assert walk(console, conditions, order) == wanted, conditions


def walk(console: ConsoleServer, conditions: StudyFilter, order: Order) -> list[str]:
    """Return the studies that paging forwards finds, having seen that paging back from the end finds them too."""
    pages, cursor = [], None
    with reading(console.engine) as connection:
        while True:
            page = page_of_studies(connection, conditions, order, cursor, now=NOW, limit=20)
            pages.append([row.study_instance_uid for row in page.rows])
            if page.following is None:
                break
            cursor = page.following
        back = [pages[-1]]
        while page.previous is not None:
            page = page_of_studies(connection, conditions, order, page.previous, now=NOW, limit=20)
            back.append([row.study_instance_uid for row in page.rows])
        assert back[::-1] == pages
    return [uid for page in pages for uid in page]


def test_the_choices_are_the_values_that_are_there(console: ConsoleServer) -> None:
    add(console, *some_studies(40), {"study_instance_uid": "1.3", "modality": ""})
    with reading(console.engine) as connection:
        assert choices(connection, studies.c.modality) == ["CT", "DX", "XA"]


def test_a_row_says_what_became_of_a_study(console: ConsoleServer) -> None:
    add(
        console,
        {"study_instance_uid": "1.1", "verdict": "", "probability": None, "verdict_at": None, "opened_at": NOW},
        {"study_instance_uid": "1.2", "verdict": "fake", "probability": 0.987, "opened_at": NOW, "patient_id": "<b>x"},
    )
    image = {"sop_class_uid": "1", "transfer_syntax_uid": "1", "content_sha256": "a", "size_bytes": 1, "path": "x"}
    image |= {
        "calling_ae_title": "A",
        "called_ae_title": "B",
        "host": "h",
        "received_at": NOW,
        "study_instance_uid": "1.1",
    }
    report = {"study_instance_uid": "1.2", "report_uid": "1.9", "created_at": NOW, "next_attempt_at": NOW}
    with transaction(console.engine) as connection:
        for number in (1, 2):
            row = image | {"sop_instance_uid": f"1.5.{number}", "series_instance_uid": "1.4"}
            connection.execute(sa.insert(instances), row)
            connection.execute(sa.insert(deliveries), report | {"destination": f"d{number}", "state": "sent"})
        connection.execute(sa.insert(deliveries), report | {"destination": "d3", "state": "dead"})
    page = console.signed_in(Role.VIEWER).get("/worklist").text
    for text in ("in progress", "2 received", "reopened", "0.987", "2 of 3", "2 sent", "dead letter", "&lt;b&gt;x"):
        assert text in page, text


def test_an_empty_node_says_what_to_check(console: ConsoleServer) -> None:
    assert "/node" not in (shown := console.signed_in(Role.VIEWER).get("/worklist").text.split("<main")[1])
    assert "No study has come yet" in shown
    assert 'href="/node"' in console.signed_in(Role.AUDITOR).get("/worklist").text.split("<main")[1]
    add(console, {"study_instance_uid": "1.1"})
    found = console.signed_in(Role.VIEWER).get("/worklist", params={"patient_id": "nobody"}).text
    assert "No study meets all" in found
    assert 'value="nobody"' in found


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-02-02", "to": "2026-01-01"}, "to"),
        ({"study_instance_uid": "1.2.x"}, "study_instance_uid"),
    ],
)
def test_a_wrong_value_is_named_and_kept(console: ConsoleServer, given: dict[str, str], field: str) -> None:
    answer = console.signed_in(Role.VIEWER).get("/worklist", params=given)
    assert answer.status_code == 422
    assert f'id="error-{field}"' in answer.text


@pytest.mark.parametrize("cursor", ["x", "AAAA", "PjEgMS4yOw", "Pm5hbiAxLjI", "ä", "P" * 5000])
def test_a_cursor_that_nobody_gave_is_refused(console: ConsoleServer, cursor: str) -> None:
    answer = console.signed_in(Role.VIEWER).get("/worklist", params={"cursor": cursor})
    assert answer.status_code == 422
    assert "first page" in answer.text


def searches(console: ConsoleServer) -> list[audit.AuditRow]:
    with reading(console.engine) as connection:
        return list(audit.query(connection, AuditFilter(kind="worklist-searched")))


def links(answer: httpx.Response) -> list[str]:
    text = answer.text.replace("&amp;", "&")
    return [part.split('"')[0] for part in text.split('hx-get="')[1:] + text.split('<a href="')[1:]]


def test_a_search_is_logged_once_with_its_pages_and_refreshes(console: ConsoleServer) -> None:
    add(
        console,
        *({"study_instance_uid": f"1.2.{n}", "first_received_at": NOW + n, "patient_id": "P7"} for n in range(60)),
    )
    client = console.signed_in(Role.VIEWER, name="vera")
    assert client.get("/worklist").status_code == 200
    assert searches(console) == []
    answer = client.get("/worklist", params={"patient_id": "P7", "modality": ""})
    [event] = searches(console)
    assert event.patient_id == "P7"
    assert '"who":"vera"' in event.payload
    [refresh] = [link for link in links(answer) if link.startswith("/worklist/rows")]
    [older] = [link for link in links(answer) if "cursor=" in link]
    assert client.get(refresh).text.count("data-study") == 50
    assert client.get(older).text.count("data-study") == 10
    assert len(searches(console)) == 1


def test_what_another_searched_for_is_no_excuse(console: ConsoleServer) -> None:
    add(console, {"study_instance_uid": "1.2", "patient_id": "P7"})
    first = console.signed_in(Role.VIEWER).get("/worklist", params={"patient_id": "P7"})
    [refresh] = [link for link in links(first) if link.startswith("/worklist/rows")]
    console.signed_in(Role.VIEWER).get(refresh)
    assert len(searches(console)) == 2
    console.signed_in(Role.VIEWER).get(refresh.replace("P7", "P8"))
    assert len(searches(console)) == 3
    for bad in ("0", "99999999999999999999", "-1", "x", "1"):
        console.signed_in(Role.VIEWER).get("/worklist/rows", params={"patient_id": "P7", "logged": bad})
    assert len(searches(console)) == 8
