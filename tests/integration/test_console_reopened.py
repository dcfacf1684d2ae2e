"""A study that has a verdict and gets further images: nowhere does the older verdict pass for the last word."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.console.queries.worklist import IN_PROGRESS, Order, StudyFilter, page_of_studies
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import deliveries, revisions
from medfake_pacs.database.tables import studies as study_table
from medfake_pacs.workflows import completion, housekeeping
from tests import material
from tests.console_studies import FAKE_LOGIT, REAL_LOGIT, Studies
from tests.console_support import ConsoleServer, console_settings, running_console

DAY_S = 86_400.0
NODE = {
    "destinations": [{"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 1}],
    "routes": [{"name": "CT", "modality": ["CT"], "model": "lung-ct", "send_to": ["pacs"]}],
}


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on a node that sends CTs' reports to a destination."""
    with running_console(console_settings(tmp_path, database_url, extra=NODE)) as running:
        yield running


def _reopened(studies: Studies) -> str:
    """Make a study with a verdict whose second revision is complete and not assessed."""
    images = material.ct_series(6)
    uid = studies.make(images[:4])
    studies.receive(images[4:])
    completion.complete_studies(studies.context, time.time() + 3600)
    return uid


def _let_it_fail(console: ConsoleServer, attempts: int) -> None:
    """Make the second revision one whose assessment keeps failing since a day."""
    past = time.time() - DAY_S
    with transaction(console.engine) as connection:
        connection.execute(sa.update(study_table).values(first_received_at=past, last_received_at=past))
        failed = {"attempts": attempts, "next_attempt_at": 1_700_000_000.0, "completed_at": past}
        connection.execute(sa.update(revisions).where(revisions.c.revision == 2).values(failed))


def _words(page: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", page).split())


def test_list_and_api_say_that_a_newer_verdict_is_to_come(console: ConsoleServer, studies: Studies) -> None:
    uid = _reopened(studies)
    page, api = console.signed_in(Role.VIEWER), console.with_token(Role.VIEWER)
    study = api.get(f"/api/studies/{uid}").json()
    assert (study["verdict"], study["revision"], study["reopened"], study["images_received"]) == ("real", 1, True, 6)
    assert "reopened" in page.get("/worklist").text
    for query in ("verdict=in+progress", "verdict=real", ""):
        assert [each["study_instance_uid"] for each in api.get(f"/api/studies?{query}").json()["studies"]] == [uid]
    assert api.get("/api/studies?no_verdict_for=1h").json()["studies"] == []
    _let_it_fail(console, 7)
    [overdue] = api.get("/api/studies?no_verdict_for=1h").json()["studies"]
    assert overdue["failed_attempts"] == 7

    studies.score(lambda _row: REAL_LOGIT)
    studies.assess()
    assert api.get(f"/api/studies/{uid}").json()["reopened"] is False
    assert api.get("/api/studies?verdict=in+progress").json()["studies"] == []


def test_failed_attempts_are_said_on_page_and_list(console: ConsoleServer, studies: Studies) -> None:
    uid = _reopened(studies)
    client = console.signed_in(Role.VIEWER, Role.AUDITOR)
    _let_it_fail(console, 7)
    said = "assessing it failed 7 times; it is tried again at 2023-11-14 22:13:20Z"
    for address in (f"/studies/{uid}", "/worklist", "/statistics"):
        page = _words(client.get(address).text)
        assert said in page, address
        assert "The verdict is being made" not in page


def test_a_newer_verdict_is_offered_and_nothing_typed_is_lost(console: ConsoleServer, studies: Studies) -> None:
    uid = _reopened(studies)
    client = console.signed_in(Role.RADIOLOGIST)
    assert "In progress." in client.get(f"/studies/{uid}/progress?revision=1").text
    studies.score(lambda _row: FAKE_LOGIT)
    studies.assess()
    answer = client.get(f"/studies/{uid}/progress?revision=1")
    assert not {"hx-refresh", "hx-redirect", "hx-location"} & set(answer.headers)
    assert "A newer verdict is there, on revision 2." in _words(answer.text)
    assert f'href="/studies/{uid}"' in answer.text
    # What was typed on the older verdict isn't taken for an opinion on the newer one.
    form = {"opinion": "disagree", "comment": "No nodule.", "revision": "1"}
    assert client.post(f"/studies/{uid}/reviews", data=form).status_code == 409


def test_pictures_that_were_deleted_before_the_study_came_back_say_so(console: ConsoleServer, studies: Studies) -> None:
    images = material.ct_series(6)
    uid = studies.make(images[:5], lambda _row: FAKE_LOGIT)
    with transaction(console.engine) as connection:
        connection.execute(sa.update(deliveries).values(state="sent"))
    housekeeping.expire(studies.context, time.time() + 9e8)
    studies.receive(images[5:])
    studies.score(lambda _row: FAKE_LOGIT)
    studies.assess()
    client = console.signed_in(Role.VIEWER)
    page = client.get(f"/studies/{uid}").text
    pictures = [each.replace("&amp;", "&") for each in re.findall(r'src="(/images/\d+/[^"]*)"', page)]
    assert pictures
    assert {client.get(each).status_code for each in pictures} == {200}
    assert page.count("not kept any more</span>") == 5
    assert "5 of the images of this series were deleted" in page
    chosen = client.get(f"/studies/{uid}?image=1").text
    assert "/images/1/frames/1.png" not in chosen
    assert "not kept any more</figcaption>" in chosen


@pytest.mark.parametrize("order", Order)
def test_studies_in_progress_are_found_by_an_index_of_the_few_that_are_reopened(
    console: ConsoleServer, order: Order
) -> None:
    columns = {"verdict": "real", "verdict_revision": 1, "probability": 0.1, "verdict_at": 1.0, "modality": "CT"}
    rows = [{"study_instance_uid": f"1.2.{number}", "revision": 1, **columns} for number in range(5000)]
    rows[17]["revision"] = 2
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(study_table), rows)
    if console.engine.dialect.name == "postgresql":
        with console.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE studies")
    plans: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if "reopened" in statement and not statement.startswith("EXPLAIN"):
            kind = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
            plans.extend(
                " ".join(map(str, row)) for row in connection.exec_driver_sql(f"{kind} {statement}", parameters)
            )

    with reading(console.engine) as connection:
        sa.event.listen(connection, "before_cursor_execute", explain)
        page = page_of_studies(connection, StudyFilter(verdicts=(IN_PROGRESS,), modality="CT"), order, None, now=9e9)
        sa.event.remove(connection, "before_cursor_execute", explain)
    assert [row.study_instance_uid for row in page.rows] == ["1.2.17"]
    assert any("ix_studies_reopened" in line for line in plans), plans
