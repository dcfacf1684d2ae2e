"""The studies API: the worklist's search, DICOMweb-style look-ups, and that each is put into the log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter

from medfake_pacs import audit
from medfake_pacs.audit.query import AuditFilter
from medfake_pacs.console.security.permissions import Permission, Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.intake import record_instance
from medfake_pacs.database.tables import deliveries, reports, revisions, studies, verdicts
from medfake_pacs.entities import (
    ImageAttributes,
    ImageFinding,
    ModelIdentity,
    Peer,
    Region,
    SeriesVerdict,
    SpooledInstance,
    Verdict,
    VerdictLabel,
)
from medfake_pacs.workflows.worklist import record_verdict
from tests.console_support import ConsoleServer, console_settings, running_console

STUDY, SERIES = "1.2.3", "1.2.3.4"
NOW = 1_700_000_000.0
REPORT = b"\0" * 128 + b"DICM and the rest"


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on a node with one finished study of two images, and one that has just begun."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        _fill(running)
        yield running


def _attributes(study: str, series: str, number: int) -> ImageAttributes:
    return ImageAttributes(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=f"{series}.{number}",
        study_instance_uid=study,
        series_instance_uid=series,
        modality="CT",
        patient_id="P1",
        accession_number="A1",
        series_description="axial",
        instance_number=number,
    )


def _fill(console: ConsoleServer) -> None:
    images = [_attributes(STUDY, SERIES, 1), _attributes(STUDY, SERIES, 2), _attributes("1.9", "1.9.1", 1)]
    with transaction(console.engine) as connection:
        numbers = [
            record_instance(
                connection,
                SpooledInstance(
                    attributes=attributes,
                    transfer_syntax_uid="1.2.840.10008.1.2.1",
                    content_sha256=f"{place:064d}",
                    size_bytes=1,
                    path=Path("objects/aa/aa.dcm"),
                    peer=Peer(association_id="x", calling_ae_title="CT1", called_ae_title="M", host="127.0.0.1"),
                    received_at=NOW + place,
                ),
            ).instance_id
            for place, attributes in enumerate(images)
        ]
        made = _verdict(images[:2], numbers)
        record_verdict(connection, made, NOW + 60)
        done = sa.update(studies).where(studies.c.study_instance_uid == STUDY)
        connection.execute(done.values(opened_at=None, revision=1))
        common = {"study_instance_uid": STUDY, "revision": 1}
        row = {"completed_at": NOW + 50, "trigger": "quiet", "last_received_at": NOW, "state": "assessed"}
        connection.execute(sa.insert(revisions), common | row)
        row = {"scope": "study", "scope_uid": STUDY, "verdict": "fake", "probability": 0.97, "images_total": 2}
        row |= {"images_scored": 1, "reason": made.reason, "created_at": NOW + 60}
        detail = TypeAdapter(Verdict).dump_python(made, mode="json")
        connection.execute(sa.insert(verdicts), common | row | {"detail": detail})
        row = {"sop_instance_uid": "1.2.3.99", "sop_class_uid": "1.2", "path": "reports/r.dcm", "sha256": "ab"}
        connection.execute(sa.insert(reports), common | row | {"created_at": NOW + 61})
        row = {"report_uid": "1.2.3.99", "study_instance_uid": STUDY, "destination": "pacs", "state": "sent"}
        connection.execute(sa.insert(deliveries), row | {"created_at": NOW + 61, "next_attempt_at": NOW + 61})
    folder = console.settings.spool_dir / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "r.dcm").write_bytes(REPORT)


def _verdict(images: list[ImageAttributes], numbers: list[int]) -> Verdict:
    findings = (
        ImageFinding(
            attributes=images[0],
            instance_id=numbers[0],
            label=VerdictLabel.FAKE,
            probability=0.97,
            score=3.5,
            frame_numbers=(1,),
            regions=((1, Region(x=1, y=2, width=30, height=40, score=3.5)),),
            conflict="objects with this SOP Instance UID differ in their pixels",
        ),
        ImageFinding(
            attributes=images[1],
            instance_id=numbers[1],
            label=VerdictLabel.NOT_ASSESSED,
            probability=None,
            score=None,
            reason="localizer image",
            declared_synthetic=True,
        ),
    )
    series = SeriesVerdict(
        series_instance_uid=SERIES,
        modality="CT",
        label=VerdictLabel.FAKE,
        probability=0.97,
        model=ModelIdentity(name="lung-ct", version="1", sha256="cd" * 32),
        route="lung",
        images_total=2,
        images_scored=1,
        reason="1 of 2 images not assessed: localizer image",
        findings=findings,
    )
    return Verdict(
        study_instance_uid=STUDY,
        revision=1,
        label=VerdictLabel.FAKE,
        probability=0.97,
        reason=series.reason,
        images_total=2,
        images_scored=1,
        series=(series,),
    )


def logged(console: ConsoleServer, kind: str) -> list[audit.AuditRow]:
    with reading(console.engine) as connection:
        return list(audit.query(connection, AuditFilter(kind=kind)))


def test_the_list_has_every_study_newest_first_and_pages_by_link(console: ConsoleServer) -> None:
    client = console.with_token(Role.VIEWER)
    first = client.get("/api/studies", params={"limit": 1})
    assert [study["study_instance_uid"] for study in first.json()["studies"]] == ["1.9"]
    assert first.headers["link"] == f'<{first.json()["next"]}>; rel="next"'
    second = client.get(first.json()["next"])
    assert second.json()["next"] is None
    [study] = second.json()["studies"]
    expected = {
        "study_instance_uid": STUDY,
        "patient_id": "P1",
        "ae_title": "CT1",
        "verdict": "fake",
        "probability": 0.97,
        "revision": 1,
        "received_at": NOW,
        "model": "lung-ct",
        "images_total": 2,
        "images_scored": 1,
        "deliveries": {"waiting": 0, "sent": 1, "dead": 0, "dismissed": 0},
    }
    assert study.items() >= expected.items()
    assert len(logged(console, "worklist-viewed")) == 1


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"verdict": "fake"}, [STUDY]),
        ({"verdict": ["fake", "in progress"]}, ["1.9", STUDY]),
        ({"verdict": "in progress", "PatientID": "P1"}, ["1.9"]),
        ({"StudyInstanceUID": STUDY}, [STUDY]),
        ({"ModalitiesInStudy": "MR"}, []),
        ({"AccessionNumber": "A1", "order": "probability"}, [STUDY]),
        ({"no_verdict_for": "1d"}, ["1.9"]),
        ({"from": "2023-11-14", "to": "2023-11-14"}, ["1.9", STUDY]),
        ({"from": "2023-11-15"}, []),
        ({"to": "2023-11-14T22:13:21"}, [STUDY]),
    ],
)
def test_the_filters(console: ConsoleServer, params: dict[str, str], found: list[str]) -> None:
    answer = console.with_token(Role.VIEWER).get("/api/studies", params=params)
    assert [study["study_instance_uid"] for study in answer.json()["studies"]] == found


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"verdict": "false"}, "verdict.0"),
        ({"StudyInstanceUID": "x"}, "study_instance_uid"),
        ({"PatientID": "a", "patient_id": "b"}, "PatientID"),
        ({"patientid": "a"}, "patientid"),
        ({"limit": "501"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"from": "yesterday"}, "from"),
    ],
)
def test_wrong_parameters_are_named(console: ConsoleServer, params: dict[str, str], field: str) -> None:
    answer = console.with_token(Role.VIEWER).get("/api/studies", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert field in answer.json()["fields"], answer.json()


def test_a_study_with_series_revisions_and_deliveries(console: ConsoleServer) -> None:
    study = console.with_token(Role.VIEWER).get(f"/api/studies/{STUDY}").json()
    assert (study["verdict"], study["reason"]) == ("fake", "1 of 2 images not assessed: localizer image")
    [series] = study["series"]
    assert (series["series_instance_uid"], series["series_description"], series["route"]) == (SERIES, "axial", "lung")
    [revision] = study["revisions"]
    assert revision["report"]["sop_instance_uid"] == "1.2.3.99"
    assert [delivery["state"] for delivery in revision["report"]["deliveries"]] == ["sent"]
    [event] = logged(console, "study-viewed")
    assert (event.study_instance_uid, event.patient_id) == (STUDY, "P1")
    assert '"via":"token"' in event.payload


def test_instances_say_what_was_found_in_each(console: ConsoleServer) -> None:
    client = console.with_token(Role.VIEWER)
    path = f"/api/studies/{STUDY}/series/{SERIES}/instances"
    first = client.get(path, params={"limit": 1}).json()
    [image] = first["instances"]
    assert (image["verdict"], image["frame_numbers"]) == ("fake", [1])
    assert image["regions"] == [{"frame": 1, "x": 1, "y": 2, "width": 30, "height": 40, "score": 3.5}]
    assert "differ in their pixels" in image["conflict"]
    rest = client.get(path, params={"after": first["next_after"]}).json()
    [image] = rest["instances"]
    assert (image["verdict"], image["reason"], image["declared_synthetic"]) == ("not assessed", "localizer image", True)
    assert rest["next_after"] is None
    assert [each["series_instance_uid"] for each in client.get(f"/api/studies/{STUDY}/series").json()] == [SERIES]
    begun = client.get("/api/studies/1.9/series/1.9.1/instances").json()["instances"]
    assert [each["verdict"] for each in begun] == ["in progress"]


def test_the_report_is_what_was_written(console: ConsoleServer) -> None:
    client = console.with_token(Role.VIEWER)
    answer = client.get(f"/api/studies/{STUDY}/report", params={"revision": 1})
    assert (answer.content, answer.headers["content-type"]) == (REPORT, "application/dicom")
    assert "attachment" in answer.headers["content-disposition"]
    assert [event.sop_instance_uid for event in logged(console, "report-exported")] == ["1.2.3.99"]
    assert client.get(f"/api/studies/{STUDY}/report", params={"revision": 2}).status_code == 404
    assert client.get("/api/studies/1.9/report").status_code == 404
    (console.settings.spool_dir / "reports" / "r.dcm").unlink()
    assert client.get(f"/api/studies/{STUDY}/report").status_code == 410


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/studies/1.2.4", 404),
        ("/api/studies/1.2.4/series", 404),
        ("/api/studies/1.2.4/report", 404),
        (f"/api/studies/{STUDY}/series/1.5/instances", 404),
        ("/api/studies/1.02", 422),
        ("/api/studies/x", 422),
        ("/api/studies/" + "1." * 40 + "1", 422),
    ],
)
def test_unknown_and_malformed_uids(console: ConsoleServer, path: str, status: int) -> None:
    answer = console.with_token(Role.VIEWER).get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_token_needs_the_scope(console: ConsoleServer) -> None:
    client = console.with_token(Role.VIEWER, scopes=[Permission.IMAGES_CHECK])
    for path in ("", f"/{STUDY}", f"/{STUDY}/series", f"/{STUDY}/series/{SERIES}/instances", f"/{STUDY}/report"):
        assert client.get(f"/api/studies{path}").status_code == 403
        assert console.signed_in(Role.VIEWER).get(f"/api/studies{path}").status_code == 401
