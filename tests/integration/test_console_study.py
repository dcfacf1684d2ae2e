"""The page of one study: verdict, images, evidence, history; what hostile headers can't do; what is logged."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import audit_events, deliveries
from medfake_pacs.database.tables import studies as study_table
from tests import material
from tests.console_studies import FAKE_LOGIT, REAL_LOGIT, Studies, fake_from
from tests.console_support import ConsoleServer, console_settings, running_console

NODE = {
    "destinations": [{"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 1}],
    "routes": [{"name": "CT", "modality": ["CT"], "model": "lung-ct", "send_to": ["pacs"]}],
}


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on a node that sends CTs' reports to a destination."""
    with running_console(console_settings(tmp_path, database_url, extra=NODE)) as running:
        yield running


def _events(console: ConsoleServer, kind: str) -> list[sa.Row]:
    with reading(console.engine) as connection:
        return list(connection.execute(sa.select(audit_events).where(audit_events.c.kind == kind)))


def test_a_fake_study_shows_what_carries_the_finding(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(20), fake_from(8, 14))
    page = console.signed_in(Role.VIEWER).get(f"/studies/{uid}").text
    assert "The model found signs that these pixels were synthesised or manipulated." in page
    assert "20 of 20" in page
    assert "lung-ct" in page
    assert studies.context.models.bundle("lung-ct").model_sha256 in page
    assert "What carries the finding" in page
    assert "Image 11" in page
    assert page.count("overlay=true") >= 7
    assert "data-frames='[{" in page
    frames = json.loads(page.partition("data-frames='")[2].partition("'")[0])
    assert len(frames) == 20
    carrying = [frame for frame in frames if frame["regions"]]
    assert carrying[0]["regions"] == [[32, 32, 64, 32]]
    assert "fake, probability of fake" in carrying[0]["note"]


def test_who_looked_at_which_study_is_logged(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(2))
    client = console.signed_in(Role.VIEWER, name="anna")
    client.get(f"/studies/{uid}")
    for number in (1, 2):
        client.get(f"/images/{number}/thumbnail.png")
    [event] = _events(console, "study-viewed")
    facts = json.loads(event.payload)["payload"]
    assert (event.study_instance_uid, event.patient_id, event.accession_number) == (uid, "TEST-1", "A-1")
    assert facts["who"] == "anna"
    assert facts["dicom_event"]["code"] == "110103"
    # Pictures alone are a view too.
    console.signed_in(Role.VIEWER, name="bob").get("/images/1/thumbnail.png")
    assert [json.loads(each.payload)["payload"]["who"] for each in _events(console, "study-viewed")] == ["anna", "bob"]


def test_a_study_is_shown_while_it_arrives_and_says_when_there_is_a_verdict(
    console: ConsoleServer, studies: Studies
) -> None:
    datasets = material.ct_series(3)
    studies.receive(datasets)
    uid = str(datasets[0].StudyInstanceUID)
    client = console.signed_in(Role.VIEWER)
    page = client.get(f"/studies/{uid}").text
    assert "There is no verdict yet." in page
    assert "Images are arriving: 3 so far" in page
    assert "/images/1" in page
    assert "hx-refresh" not in client.get(f"/studies/{uid}/progress?revision=0").headers
    studies.score(lambda _row: REAL_LOGIT)
    studies.assess()
    progress = client.get(f"/studies/{uid}/progress?revision=0")
    assert "hx-refresh" not in progress.headers
    assert "The verdict is there." in progress.text
    assert f'<a href="/studies/{uid}">Show it</a>' in progress.text
    assert "no sign that these pixels were synthesised" in client.get(f"/studies/{uid}").text


def test_history_names_revisions_reports_and_deliveries(console: ConsoleServer, studies: Studies) -> None:
    first = material.ct_series(2)
    uid = studies.make(first)
    studies.make(material.ct_series(1, study_uid=uid, start=3, seed=1), lambda _row: FAKE_LOGIT)
    with transaction(console.engine) as connection:
        connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.delivery_id == 1)
            .values(state="dead", attempts=9, last_status=0xA700, last_comment="no room", finished_at=time.time())
        )
    client = console.signed_in(Role.VIEWER)
    page = client.get(f"/studies/{uid}").text
    assert "dead letter" in page
    assert "9 attempts, status 0xA700, no room" in page
    assert "waiting" in page
    links = sorted({part.partition('"')[0] for part in page.split('href="') if "/reports/" in part.partition('"')[0]})
    assert len(links) == 2
    answer = client.get(links[0])
    assert answer.headers["content-type"] == "application/dicom"
    assert "attachment" in answer.headers["content-disposition"]
    report = studies.context.settings.spool_dir / "downloaded.dcm"
    report.write_bytes(answer.content)
    assert dcmread(report).StudyInstanceUID == uid
    [event] = _events(console, "report-exported")
    assert event.sop_instance_uid == dcmread(report).SOPInstanceUID
    assert client.get(f"/studies/{uid}/reports/1.2.3").status_code == 404


def test_conflicting_objects_are_side_by_side(console: ConsoleServer, studies: Studies) -> None:
    datasets = material.ct_series(2)
    changed = material.with_one_pixel_changed(datasets[0])
    datasets[1].SyntheticData = "YES"
    uid = studies.make([*datasets, changed])
    page = console.signed_in(Role.VIEWER).get(f"/studies/{uid}").text
    assert "2 objects came with this identifier; their pixels differ" in page
    assert "/images/1/overlay.png" in page
    assert "/images/3/overlay.png" in page
    assert "1 image declares" in page
    assert "indeterminate" in page


def test_an_expired_study_keeps_its_verdict_and_loses_its_pictures(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(2), fake_from(1, 2))
    for number in (1, 2):
        studies.path_of(number).unlink()
    with transaction(console.engine) as connection:
        connection.execute(sa.update(study_table).values(expired_at=time.time()))
    answer = console.signed_in(Role.VIEWER).get(f"/studies/{uid}")
    assert answer.status_code == 200
    assert "retention was over" in answer.text
    assert "the name is not kept any more" in answer.text
    assert "TEST-1" in answer.text
    assert "/images/1" not in answer.text


def test_script_in_a_header_is_shown_and_never_run(console: ConsoleServer, studies: Studies) -> None:
    [dataset] = material.ct_series(1)
    attack = "<script>alert(1)</script>"
    dataset.PatientName = attack
    dataset.PatientID = "'\"><img src=x onerror=alert(1)>"
    dataset.StudyDescription = dataset.SeriesDescription = attack
    uid = studies.make([dataset])
    page = console.signed_in(Role.VIEWER).get(f"/studies/{uid}").text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_study_that_never_came_is_not_found(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)
    for uid in ("1.2.3", "a" * 65, "ü", "1.2'--"):
        answer = client.get(f"/studies/{uid}")
        assert answer.status_code == 404, uid
        assert "no image of a study" in answer.text
    for uid in ("%00", "1.2%0A", "1.2%C2%85"):
        assert client.get(f"/studies/{uid}").status_code in {404, 422}
    assert client.get("/studies/1.2.3/progress").status_code == 404
    assert _events(console, "study-viewed") == []


def test_only_those_who_may_see_studies_see_one(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(1))
    for path in (f"/studies/{uid}", f"/studies/{uid}/progress", f"/studies/{uid}/reports/1"):
        assert console.signed_in().get(path).status_code == 403
        assert console.anonymous().get(path).status_code == 303


def test_a_chosen_image_is_the_first_that_is_shown(console: ConsoleServer, studies: Studies) -> None:
    uid = studies.make(material.ct_series(5))
    client = console.signed_in(Role.VIEWER)
    page = client.get(f"/studies/{uid}?image=2").text
    assert 'data-start="1"' in page
    assert "image=1&amp;frame=1#viewer" in page
    assert "image=3&amp;frame=1#viewer" in page
    # What isn't there, or is another study's, changes nothing.
    assert client.get(f"/studies/{uid}?image=99").status_code == 200
    assert client.get(f"/studies/{uid}?series=1.2.3").status_code == 200
    assert client.get(f"/studies/{uid}?image=-1").status_code == 422
