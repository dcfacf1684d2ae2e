"""What a study's page and the API say of reports that aren't a verdict's, and of reviews that have none."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import transaction
from medfake_pacs.database.tables import deliveries, reports
from medfake_pacs.workflows.reviewing import report_reviews
from tests import material
from tests.console_studies import Studies
from tests.console_support import ConsoleServer, console_settings, running_console

AGREE = {"opinion": "agree", "comment": "", "revision": "1"}
PACS = {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 1}


@pytest.fixture
def modality(request: pytest.FixtureRequest) -> str:
    """Return the modality whose studies are routed, and so reported."""
    return str(getattr(request, "param", "CT"))


@pytest.fixture
def console(tmp_path: Path, database_url: str, modality: str) -> Iterator[ConsoleServer]:
    """Yield a console on a node with one route and one destination."""
    route = {"name": "route", "modality": [modality], "model": "lung-ct", "send_to": ["pacs"]}
    node: dict[str, Any] = {"destinations": [PACS], "routes": [route], "report": {"report_unrouted": False}}
    with running_console(console_settings(tmp_path, database_url, extra=node)) as running:
        yield running


def _words(page: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", page).split())


@pytest.mark.parametrize("modality", ["MR"], indirect=True)
def test_a_review_of_a_verdict_without_a_report_promises_none(console: ConsoleServer, studies: Studies) -> None:
    images = material.ct_series(2)
    studies.receive(images)
    studies.score(lambda _row: None, route="")
    studies.assess()
    uid = str(images[0].StudyInstanceUID)
    client = console.signed_in(Role.RADIOLOGIST)
    page = _words(client.get(f"/studies/{uid}").text)
    assert "The verdict has no report, so none is made of your opinion." in page
    assert "as a Structured Report with your name" not in page
    assert client.post(f"/studies/{uid}/reviews", data=AGREE).status_code == 303
    report_reviews(studies.context)
    page = client.get(f"/studies/{uid}").text
    assert "recorded; there is no report to send" in page
    assert not re.search(r"state-good[^>]*>\s*(<[^>]*>)*\s*reported", page)
    [review] = console.with_token(Role.VIEWER).get(f"/api/studies/{uid}/reviews").json()["reviews"]
    assert (review["state"], review["report_uid"]) == ("unreported", None)


def test_a_review_of_a_reported_verdict_becomes_a_report(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(2))
    client = console.signed_in(Role.RADIOLOGIST)
    assert "as a Structured Report with your name" in client.get(f"/studies/{uid}").text
    client.post(f"/studies/{uid}/reviews", data=AGREE)
    report_reviews(studies.context)
    assert "no report to send" not in client.get(f"/studies/{uid}").text


def test_the_report_of_a_released_check_is_in_the_studys_history(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(2))
    now = time.time()
    report = {"sop_instance_uid": "1.2.9", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.34", "study_instance_uid": uid}
    report |= {"kind": "check", "revision": 1, "path": "none", "sha256": "a" * 64, "created_at": now}
    sent = {"report_uid": "1.2.9", "study_instance_uid": uid, "destination": "pacs", "state": "sent", "attempts": 2}
    sent |= {"created_at": now, "next_attempt_at": now, "finished_at": now}
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(reports).values(report))
        connection.execute(sa.insert(deliveries).values(sent))
    page = console.signed_in(Role.VIEWER).get(f"/studies/{uid}").text
    table = page.partition("Reports on uploaded images that were released")[2].partition("</table>")[0]
    assert f"/studies/{uid}/reports/1.2.9" in table
    assert "pacs: sent 2 attempts" in _words(table)
    study = console.with_token(Role.VIEWER).get(f"/api/studies/{uid}").json()
    [listed] = study["check_reports"]
    assert (listed["sop_instance_uid"], listed["deliveries"][0]["state"]) == ("1.2.9", "sent")
    ways = [line["report"] for line in study["revisions"] if line["report"]] + study["check_reports"]
    assert sum(study["deliveries"].values()) == sum(len(each["deliveries"]) for each in ways)
