"""Reviews: who may say what of which verdict, the log, and the report that the worker makes of it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import markupsafe
import pytest
import sqlalchemy as sa
from pydicom import dcmread

from medfake_pacs import audit
from medfake_pacs.config import load_settings
from medfake_pacs.console.security.permissions import Permission, Role
from medfake_pacs.crashpoints import MARKER_VARIABLE, POINT_VARIABLE
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import reviews
from medfake_pacs.database.tables import audit_events, deliveries, reports
from medfake_pacs.delivery import due
from medfake_pacs.workflows.reviewing import report_reviews
from tests import material, report_reading
from tests.console_studies import FAKE_LOGIT, Studies, fake_from, studies_of
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.node import NodeProcess
from tests.orthanc import OrthancPeer
from tests.support import REPOSITORY, wait_for

NODE = {
    "destinations": [
        {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 1},
        {"name": "other", "ae_title": "OTHER", "host": "127.0.0.1", "port": 1},
    ],
    "routes": [{"name": "CT", "modality": ["CT"], "model": "lung-ct", "send_to": ["pacs"]}],
}
_REPORT_IN_A_PROCESS = """
import json, os, sys
from pathlib import Path
from medfake_pacs.config import parse_settings
from medfake_pacs.database import open_engine
from medfake_pacs.workflows.context import Context
from medfake_pacs.delivery import due
from medfake_pacs.workflows.reviewing import report_reviews
settings = parse_settings(json.loads(sys.argv[1]), base=Path("/"))
report_reviews(Context.open(settings, open_engine(settings.database_url)))
"""


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on a node that sends CTs' reports to one of two destinations."""
    with running_console(console_settings(tmp_path, database_url, extra=NODE)) as running:
        yield running


def _rows(console: ConsoleServer, table: sa.Table, **conditions: object) -> list[sa.Row]:
    query = sa.select(table).where(*(table.c[name] == value for name, value in conditions.items()))
    with reading(console.engine) as connection:
        return list(connection.execute(query))


def _form(opinion: str = "disagree", comment: str = "Motion artefact.", revision: int = 1) -> dict[str, str]:
    return {"opinion": opinion, "comment": comment, "revision": str(revision)}


def test_an_opinion_is_recorded_logged_and_shown(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(4), fake_from(1, 4))
    client = console.signed_in(Role.RADIOLOGIST, name="weber")
    answer = client.post(f"/studies/{uid}/reviews", data=_form(comment="<b>Motion</b>\x07 artefact."))
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/studies/{uid}#reviews"
    [row] = _rows(console, reviews)
    assert (row.user_name, row.opinion, row.comment, row.revision) == (
        "weber",
        "disagree",
        "<b>Motion</b>  artefact.",
        1,
    )
    [event] = _rows(console, audit_events, kind="verdict-reviewed")
    facts = json.loads(event.payload)["payload"]
    assert (event.study_instance_uid, event.patient_id, event.verdict) == (uid, "TEST-1", "fake")
    assert (facts["who"], facts["opinion"], facts["comment"]) == ("weber", "disagree", "<b>Motion</b>  artefact.")
    page = client.get(f"/studies/{uid}").text
    assert "disagrees with the verdict" in page
    assert "&lt;b&gt;Motion&lt;/b&gt;" in page
    assert "report being written" in page
    # A double click is one opinion.
    assert client.post(f"/studies/{uid}/reviews", data=_form(comment="<b>Motion</b>\x07 artefact.")).status_code == 303
    assert len(_rows(console, reviews)) == 1


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (_form(comment=" \n "), "Say why"),
        (_form(opinion="comment", comment=""), "Say why"),
        (_form(opinion="perhaps"), "Choose one of"),
        (_form(comment="x" * 2001), "at most 2,000"),
        (_form(opinion=""), "Choose one of"),
    ],
)
def test_what_is_missing_is_said_beside_the_field_and_nothing_is_lost(
    console: ConsoleServer, studies: Studies, form: dict[str, str], says: str
) -> None:
    uid = studies.make(material.ct_series(2))
    answer = console.signed_in(Role.RADIOLOGIST).post(f"/studies/{uid}/reviews", data=form)
    assert answer.status_code == 422
    assert says in answer.text
    assert form["comment"].strip() in answer.text
    assert _rows(console, reviews) == []
    # The page has the patient on it, like the one that the form was on.
    assert len(_rows(console, audit_events, kind="study-viewed", study_instance_uid=uid)) == 1


def test_an_opinion_on_an_outdated_verdict_is_not_taken(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(2))
    studies.make(material.ct_series(1, study_uid=uid, start=3, seed=1), lambda _row: FAKE_LOGIT)
    client = console.signed_in(Role.RADIOLOGIST)
    answer = client.post(f"/studies/{uid}/reviews", data=_form(revision=1))
    assert answer.status_code == 409
    assert "there is a new verdict, on revision 2" in answer.text
    assert "Motion artefact." in answer.text
    assert client.post(f"/studies/{uid}/reviews", data=_form(revision=3)).status_code == 409
    assert client.post(f"/studies/{uid}/reviews", data=_form(revision=2)).status_code == 303
    assert client.post("/studies/1.2.3/reviews", data=_form()).status_code == 404
    assert [row.revision for row in _rows(console, reviews)] == [2]


def test_a_study_without_a_verdict_can_not_be_reviewed(console: ConsoleServer, studies: Studies) -> None:
    datasets = material.ct_series(1)
    studies.receive(datasets)
    uid = datasets[0].StudyInstanceUID
    client = console.signed_in(Role.RADIOLOGIST)
    assert "Your opinion" not in client.get(f"/studies/{uid}").text
    answer = client.post(f"/studies/{uid}/reviews", data=_form())
    assert answer.status_code == 409
    assert "no verdict on this study yet" in answer.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR, Role.ADMINISTRATOR])
def test_only_radiologists_review(console: ConsoleServer, studies: Studies, role: Role) -> None:
    uid = studies.make(material.ct_series(1))
    client = console.signed_in(role)
    assert client.post(f"/studies/{uid}/reviews", data=_form()).status_code == 403
    assert "Your opinion" not in client.get(f"/studies/{uid}").text
    assert console.with_token(role).post(f"/api/studies/{uid}/reviews", json={}).status_code == 403
    assert _rows(console, reviews) == []


def test_the_api_takes_and_gives_reviews(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(1))
    client = console.with_token(Role.RADIOLOGIST)
    path = f"/api/studies/{uid}/reviews"
    answer = client.post(path, json={"opinion": "agree", "revision": 1})
    assert answer.status_code == 201
    assert answer.json()["state"] == "recorded"
    report_reviews(studies.context)
    [found] = client.get(path).json()["reviews"]
    assert (found["opinion"], found["state"]) == ("agree", "reported")
    assert found["report_uid"]
    for body, status in (
        ({"opinion": "agree", "revision": 2}, 409),
        ({"opinion": "disagree", "revision": 1}, 422),
        ({"opinion": "maybe", "revision": 1}, 422),
        ({"opinion": "comment", "revision": 1, "comment": "x" * 2001}, 422),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/api/studies/1.2.3/reviews").status_code == 404
    reader = console.with_token(Role.RADIOLOGIST, scopes=[Permission.STUDIES_READ])
    assert reader.get(path).status_code == 200
    assert reader.post(path, json={"opinion": "agree", "revision": 1}).status_code == 403


def test_the_report_goes_where_the_verdicts_report_went(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(2))
    client = console.signed_in(Role.RADIOLOGIST, name="weber")
    for opinion in ("agree", "disagree"):
        client.post(f"/studies/{uid}/reviews", data=_form(opinion=opinion))
    report_reviews(studies.context)
    report_reviews(studies.context)
    [verdict] = _rows(console, reports, kind="verdict")
    made = sorted(_rows(console, reports, kind="review"), key=lambda row: row.revision)
    assert [row.revision for row in made] == [1, 2]
    for row in made:
        assert [each.destination for each in _rows(console, deliveries, report_uid=row.sop_instance_uid)] == ["pacs"]
        dataset = dcmread(console.settings.spool_dir / row.path)
        group = report_reading.group(dataset, f"Review {row.revision}")
        assert report_reading.values(group)["Report that was reviewed"] == [verdict.sop_instance_uid]
    created = _rows(console, audit_events, kind="report-created")
    assert [row.sop_instance_uid for row in made] == [event.sop_instance_uid for event in created[1:]]
    assert {row.state for row in _rows(console, reviews)} == {"reported"}
    assert client.get(f"/studies/{uid}").text.count("Structured Report</a>") == 4
    with reading(console.engine) as connection:
        assert audit.verify(connection, None).ok
    # The next revision's report still follows the verdict's, not the review's.
    studies.make(material.ct_series(1, study_uid=uid, start=3, seed=1))
    [second] = _rows(console, reports, kind="verdict", revision=2)
    assert second.predecessor_uid == verdict.sop_instance_uid


def test_a_review_of_what_is_reported_to_nobody_is_done_without_a_report(tmp_path: Path, database_url: str) -> None:
    settings = console_settings(tmp_path, database_url, extra={"report": {"report_unrouted": False}})
    with running_console(settings) as console, studies_of(settings, console.engine, tmp_path) as studies:
        uid = studies.make(material.ct_series(1))
        console.signed_in(Role.RADIOLOGIST).post(f"/studies/{uid}/reviews", data=_form())
        report_reviews(studies.context)
        [row] = _rows(console, reviews)
        assert (row.state, row.report_uid) == ("reported", None)
        assert _rows(console, reports) == []


@pytest.mark.parametrize("point", ["worker.review-written", "worker.review-recorded"])
def test_a_worker_that_dies_over_a_review_neither_loses_nor_doubles_it(
    console: ConsoleServer, studies: Studies, tmp_path: Path, point: str
) -> None:
    uid = studies.make(material.ct_series(1))
    console.signed_in(Role.RADIOLOGIST).post(f"/studies/{uid}/reviews", data=_form())
    node = {"state_dir": str(console.settings.node.state_dir)}
    died = subprocess.run(
        [
            sys.executable,
            "-c",
            _REPORT_IN_A_PROCESS,
            json.dumps(NODE | {"node": node, "database": {"url": console.settings.database_url}}),
        ],
        env=os.environ | {POINT_VARIABLE: point, MARKER_VARIABLE: str(tmp_path / "marker")},
        cwd=REPOSITORY,
        check=False,
    )
    assert died.returncode == -9
    report_reviews(studies.context)
    [made] = _rows(console, reports, kind="review")
    assert [row.destination for row in _rows(console, deliveries, report_uid=made.sop_instance_uid)] == ["pacs"]
    assert (
        len(
            [
                e
                for e in _rows(console, audit_events, kind="report-created")
                if e.sop_instance_uid == made.sop_instance_uid
            ]
        )
        == 1
    )
    [row] = _rows(console, reviews)
    assert (row.state, row.report_uid) == ("reported", made.sop_instance_uid)


def test_a_damaged_report_does_not_keep_other_reviews_waiting(console: ConsoleServer, studies: Studies) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    uids = [studies.make(material.ct_series(1, seed=seed)) for seed in (1, 2)]
    for uid in uids:
        client.post(f"/studies/{uid}/reviews", data=_form())
    [first] = _rows(console, reports, study_instance_uid=uids[0])
    path = console.settings.spool_dir / first.path
    content = path.read_bytes()
    path.write_bytes(b"")
    report_reviews(studies.context)
    assert [row.study_instance_uid for row in _rows(console, reports, kind="review")] == [uids[1]]
    [event] = _rows(console, audit_events, kind="review-report-failed")
    [failed] = _rows(console, reviews, state="recorded")
    assert (event.study_instance_uid, failed.attempts) == (uids[0], 1)
    assert failed.problem == json.loads(event.payload)["payload"]["reason"]
    page = client.get(f"/studies/{uids[0]}").text
    assert "report can&#39;t be written" in page
    assert str(markupsafe.escape(failed.problem)) in page
    path.write_bytes(content)
    report_reviews(studies.context)
    assert len(_rows(console, reports, kind="review")) == 1
    _make_due(console)
    report_reviews(studies.context)
    assert len(_rows(console, reports, kind="review")) == 2
    assert "report can&#39;t be written" not in client.get(f"/studies/{uids[0]}").text


def _make_due(console: ConsoleServer) -> None:
    with transaction(console.engine) as connection:
        connection.execute(sa.update(reviews).where(reviews.c.next_attempt_at > 0).values(next_attempt_at=1.0))


def test_many_reviews_that_can_not_be_reported_do_not_starve_one_that_can(
    console: ConsoleServer, studies: Studies
) -> None:
    uids = [studies.make(material.ct_series(1, seed=seed)) for seed in (1, 2)]
    [first] = _rows(console, reports, study_instance_uid=uids[0])
    (console.settings.spool_dir / first.path).write_bytes(b"")
    client = console.signed_in(Role.RADIOLOGIST)
    client.post(f"/studies/{uids[0]}/reviews", data=_form())
    [row] = _rows(console, reviews)
    values = {name: value for name, value in row._mapping.items() if name != "review_id"}
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(reviews), [values | {"comment": f"again {number}"} for number in range(60)])
    client.post(f"/studies/{uids[1]}/reviews", data=_form())
    for _round in range(3):
        report_reviews(studies.context)
    assert [made.study_instance_uid for made in _rows(console, reports, kind="review")] == [uids[1]]
    failed = _rows(console, reviews, state="recorded")
    assert {review.attempts for review in failed} == {1}
    assert len(failed) == 61
    _make_due(console)
    report_reviews(studies.context)
    assert len(_rows(console, audit_events, kind="review-report-failed")) == 61
    longest = max(review.next_attempt_at for review in _rows(console, reviews, attempts=2))
    assert longest > max(review.next_attempt_at for review in failed)


def test_the_node_page_says_why_reviews_wait(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(1))
    [made] = _rows(console, reports, study_instance_uid=uid)
    (console.settings.spool_dir / made.path).write_bytes(b"")
    console.signed_in(Role.RADIOLOGIST).post(f"/studies/{uid}/reviews", data=_form())
    report_reviews(studies.context)
    with transaction(console.engine) as connection:
        connection.execute(sa.update(reviews).values(created_at=time.time() - 3600))
    parts = console.with_token(Role.ADMINISTRATOR).get("/api/node").json()["parts"]
    [part] = [part for part in parts if "reviews to report" in part["text"]]
    assert part["remedy"].startswith("the report of one can't be written: ")
    assert uid in part["remedy"]


def test_a_review_goes_to_no_destination_that_was_removed(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(1))
    with transaction(console.engine) as connection:
        [row] = connection.execute(sa.select(deliveries)).all()
        values = {name: value for name, value in row._mapping.items() if name != "delivery_id"}
        connection.execute(sa.insert(deliveries).values(values | {"destination": "gone", "state": "sent"}))
    console.signed_in(Role.RADIOLOGIST).post(f"/studies/{uid}/reviews", data=_form())
    report_reviews(studies.context)
    [made] = _rows(console, reports, kind="review")
    assert [row.destination for row in _rows(console, deliveries, report_uid=made.sop_instance_uid)] == ["pacs"]


def test_a_review_is_due_once_the_verdicts_report_does_not_wait(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(1))
    console.signed_in(Role.RADIOLOGIST).post(f"/studies/{uid}/reviews", data=_form())
    report_reviews(studies.context)
    [review] = _rows(console, reports, kind="review")
    [verdict] = _rows(console, reports, kind="verdict")

    def uids_due() -> list[str]:
        with reading(console.engine) as connection:
            return [item.report_uid for item in due(connection, "pacs", time.time() + 1, 10)]

    assert uids_due() == [verdict.sop_instance_uid]
    mine = deliveries.c.report_uid == verdict.sop_instance_uid
    for state in ("sent", "dead", "dismissed"):
        with transaction(console.engine) as connection:
            connection.execute(sa.update(deliveries).where(mine).values(state=state))
        assert uids_due() == [review.sop_instance_uid]


def test_the_second_report_arrives_and_points_to_the_first(
    orthanc: OrthancPeer, make_node: Callable[..., NodeProcess]
) -> None:
    node = make_node(destinations=[("pacs", orthanc.ae_title, orthanc.dicom_port)]).start()
    [image] = material.ct_series(1)
    uid = str(image.StudyInstanceUID)
    assert material.send(node.port, [image]) == [0]
    wait_for(lambda: len(orthanc.reports_of(uid)) == 1, 90, "the verdict's report")
    with running_console(load_settings(node.config)) as console:
        client = console.signed_in(Role.RADIOLOGIST, name="weber")
        assert client.post(f"/studies/{uid}/reviews", data=_form()).status_code == 303
        wait_for(lambda: len(orthanc.reports_of(uid)) == 2, 60, "the review's report")
        page = client.get(f"/studies/{uid}").text
        assert "reported" in page
    found = [dcmread(BytesIO(content)) for content in orthanc.reports_of(uid)]
    review = next(each for each in found if "AuthorObserverSequence" in each)
    verdict = next(each for each in found if "AuthorObserverSequence" not in each)
    group = report_reading.group(review, "Review 1")
    assert report_reading.values(group)["Report that was reviewed"] == [verdict.SOPInstanceUID]
    assert review.AuthorObserverSequence[0].PersonName == "Weber"
    # What comes back from the archive isn't kept as something new.
    orthanc.request("/modalities/node", {"AET": node.ae_title, "Host": "127.0.0.1", "Port": node.port}, "PUT")
    orthanc.store_to("node", [study["ID"] for study in orthanc.studies()])
    wait_for(lambda: node.rows("audit_events", kind="object-not-kept"), 30, "the reports to be turned away")
    assert len(node.rows("instances")) == 1
    assert node.command("audit", "verify").returncode == 0
    assert node.stop() == 0
