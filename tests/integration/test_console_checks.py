"""Checking uploaded images: uploaded by real HTTP, assessed by the worker's own function, shown and reported."""

import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from pydicom import dcmread

from medfake_pacs.cli import arguments
from medfake_pacs.cli.classify import classify
from medfake_pacs.console.security.permissions import Permission, Role
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import check_files, checks
from medfake_pacs.database.tables import audit_events, deliveries, instances, reports, scores
from medfake_pacs.workflows import checking
from medfake_pacs.workflows.context import Context
from tests import material
from tests.console_support import ConsoleServer
from tests.console_uploads import (
    ct_files,
    kinds,
    models_and_cache,
    picture,
    rows,
    run_worker,
    running_checks,
    running_worker,
    upload,
    zipped,
)
from tests.support import need_tool


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small models and, beside it, the cache that they are compiled into."""
    return models_and_cache(tmp_path_factory.mktemp("checks"))


@pytest.fixture
def console(tmp_path: Path, database_url: str, models: Path) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node with one destination."""
    with running_checks(tmp_path, database_url, models) as running:
        yield running


@pytest.fixture
def worker(console: ConsoleServer) -> Iterator[Context]:
    """Yield a worker's belongings on the console's database."""
    with running_worker(console) as context:
        yield context


def test_a_series_is_checked_shown_and_reported(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    archive = zipped([*ct_files(tmp_path / "study", 3), ("README.txt", b"hello"), ("../../evil\n.svg", b"<svg/>")])
    answer = upload(client, [("study.zip", archive)])
    assert answer.status_code == 303, answer.text
    page = answer.headers["location"]
    assert "Waiting for a worker: 3 images" in client.get(page).text
    assert client.get(f"{page}/progress").status_code == 200
    assert client.get(f"{page}/report").status_code == 404
    run_worker(worker)
    assert client.get(f"{page}/progress").headers["hx-redirect"] == page
    shown = client.get(page).text
    for said in ("3 of 3", "lung-ct 1.0.0", "study.zip/README.txt", "../../evil.svg", "Probability of fake"):
        assert said in shown
    base = f"{page}/files/{rows(console, check_files)[0].file_id}"
    for address in ("frames/1.png", "heatmap.png?frame=1", "overlay.png?frame=1"):
        with Image.open(io.BytesIO(client.get(f"{base}/{address}").content)) as image:
            assert image.format == "PNG"
    assert client.get(f"{base}/frames/1.raw").headers["x-frame-rows"] == "128"
    report = client.get(f"{page}/report")
    assert report.headers["content-type"] == "application/dicom"
    dataset = dcmread(io.BytesIO(report.content))
    assert dataset.PatientID == "TEST-1"
    assert kinds(console)[-4:] == ["check-uploaded", "check-verdict", "check-viewed", "check-exported"]
    # Nothing of it has entered what is received, reported and sent.
    assert not any(rows(console, table) for table in (instances, deliveries, reports))
    assert len(rows(console, scores)) == 3
    event = json.loads(rows(console, audit_events)[-3].payload)["payload"]
    assert event["who"].startswith("radiologist")
    assert event["images_scored"] == 3


@pytest.mark.parametrize(
    ("content", "bits", "photometric"),
    [
        (picture(), 8, "MONOCHROME2"),
        (picture(bits=16), 16, "MONOCHROME2"),
        (picture(colour=True), 8, "RGB"),
        (picture(kind="JPEG"), 8, "MONOCHROME2"),
    ],
    ids=["grey", "deep", "colour", "jpeg"],
)
def test_a_picture_is_wrapped_so_that_its_report_names_an_object(
    console: ConsoleServer, worker: Context, tmp_path: Path, content: bytes, bits: int, photometric: str
) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    page = upload(client, [("knee.png", content)], model="knee-xr").headers["location"]
    run_worker(worker)
    shown = client.get(page).text
    assert "knee-xr 1.0.0" in shown
    assert "1 of 1" in shown
    with zipfile.ZipFile(io.BytesIO(client.get(f"{page}/report").content)) as archive:
        archive.extractall(tmp_path / "taken")
    report, image = (dcmread(tmp_path / "taken" / name) for name in ("report-1.dcm", "image-1.dcm"))
    assert (image.BitsStored, image.PhotometricInterpretation, image.PatientID) == (bits, photometric, "")
    with Image.open(io.BytesIO(content)) as original:
        assert np.array_equal(image.pixel_array, np.asarray(original))
    referenced = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert referenced.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    for name in ("report-1.dcm", "image-1.dcm"):
        _assert_valid(tmp_path / "taken" / name)
    # It is about no study in the PACS, and can't be sent.
    assert client.post(f"{page}/release", data={"destination": "pacs"}).status_code == 409
    assert not rows(console, deliveries)


def _assert_valid(path: Path) -> None:
    done = subprocess.run([need_tool("/usr/bin/dciodvfy"), path], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert not [line for line in output.splitlines() if line.startswith("Error")], output


def test_a_picture_without_a_model_is_not_assessed(console: ConsoleServer, worker: Context) -> None:
    client = console.signed_in(Role.VIEWER)
    page = upload(client, [("a.png", picture()), ("b.png", picture(1))]).headers["location"]
    run_worker(worker)
    shown = client.get(page).text
    assert "not assessed" in shown
    assert "choose the model: knee-xr, lung-ct" in shown
    assert client.get(f"{page}/report").status_code == 200


def test_script_in_a_header_is_shown_as_text(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    dataset = material.ct_series(1)[0]
    dataset.PatientName = "<script>alert(1)</script>"
    dataset.PatientID = "<img src=x onerror=alert(1)>"
    dataset.SeriesDescription = "<script>alert(2)</script>"
    (path,) = material.save([dataset], tmp_path / "x")
    client = console.signed_in(Role.VIEWER)
    page = upload(client, [("<script>.dcm", path.read_bytes())]).headers["location"]
    run_worker(worker)
    for shown in (client.get(page).text, client.get("/checks").text):
        assert "<script>alert" not in shown
        assert "<img src=x" not in shown
        assert "<script>." not in shown


def test_classify_and_a_check_say_the_same(
    console: ConsoleServer, worker: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    material.save(material.ct_series(3), tmp_path / "files")
    (tmp_path / "files" / "knee.png").write_bytes(picture(3))
    state = console.settings.node.state_dir
    config = tmp_path / "node.toml"
    models_dir = console.settings.models_dir
    config.write_text(f'[node]\nstate_dir = "{state}"\n[scoring]\nmodels_dir = "{models_dir}"\n')
    options = arguments.parser("test").parse_args(
        ["classify", "--json", "--config", str(config), str(tmp_path / "files")]
    )
    classify(options)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    client = console.with_token(Role.VIEWER)
    files = [(path.name, path.read_bytes()) for path in sorted((tmp_path / "files").iterdir())]
    check_id = upload(client, files, path="/api/images").json()["check_id"]
    run_worker(worker)
    found = client.get(f"/api/images/{check_id}").json()
    series = next(item for item in said if "series_instance_uid" in item)
    loose = next(item for item in said if "path" in item)
    dicom = [image for image in found["images"] if image["kind"] == "dicom"]
    assert max(image["probability_fake"] for image in dicom) == pytest.approx(series["probability_fake"], abs=1e-4)
    assert dicom[0]["verdict"] == series["verdict"]
    png = next(image for image in found["images"] if image["kind"] == "png")
    assert (png["verdict"], png["reason"]) == (loose["verdict"], loose["reason"])


def test_the_api_waits_and_gives_heat_map_and_report(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    client = console.with_token(Role.VIEWER)
    answer = upload(client, ct_files(tmp_path), path="/api/images")
    assert answer.status_code == 202
    assert answer.json()["state"] == "waiting"
    address = answer.headers["location"]
    assert client.get(f"{address}/heatmap").status_code == 404
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.1):
            checking.run_waiting(worker, stopping)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        answer = upload(client, ct_files(tmp_path / "b"), path="/api/images?wait_s=60")
    finally:
        stopping.set()
        thread.join()
    assert answer.status_code == 200
    assert answer.json()["state"] == "done"
    assert answer.json()["images"][0]["probability_fake"] is not None
    address = answer.headers["location"]
    assert client.get(f"{address}/heatmap").headers["content-type"] == "image/png"
    assert client.get(f"{address}/report").content[128:132] == b"DICM"
    assert client.get("/api/images/nothing").headers["content-type"] == "application/problem+json"


def test_a_check_is_its_owners_and_the_administrators(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    owner = console.signed_in(Role.VIEWER)
    page = upload(owner, ct_files(tmp_path)).headers["location"]
    run_worker(worker)
    base = f"{page}/files/{rows(console, check_files)[0].file_id}"
    addresses = (page, f"{page}/progress", f"{page}/report", f"{base}/frames/1.png", f"{base}/heatmap.png")
    stranger, administrator = console.signed_in(Role.RADIOLOGIST), console.signed_in(Role.ADMINISTRATOR)
    for address in addresses:
        assert stranger.get(address).status_code == 404
        assert administrator.get(address).status_code == 200
    assert stranger.post(f"{page}/release", data={"destination": "pacs"}).status_code == 404
    assert console.with_token(Role.RADIOLOGIST).get(f"/api/images/{page.rsplit('/', 1)[1]}").status_code == 404
    assert page not in stranger.get("/checks").text
    assert page in owner.get("/checks").text


def test_a_report_is_sent_only_when_somebody_with_the_right_asks(
    console: ConsoleServer, worker: Context, tmp_path: Path
) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    page = upload(client, ct_files(tmp_path)).headers["location"]
    assert client.post(f"{page}/release", data={"destination": "pacs"}).status_code == 409
    run_worker(worker)
    assert not rows(console, deliveries)
    assert client.post(f"{page}/release", data={"destination": "elsewhere"}).status_code == 422
    assert client.post(f"{page}/release").status_code == 422
    for _ in range(2):
        answer = client.post(f"{page}/release", data={"destination": "pacs"})
        assert answer.status_code == 303
    (report,), (delivery,) = rows(console, reports), rows(console, deliveries)
    assert (report.kind, report.revision) == ("check", 1)
    assert (delivery.report_uid, delivery.destination, delivery.state) == (report.sop_instance_uid, "pacs", "waiting")
    taken = dcmread(io.BytesIO(client.get(f"{page}/report").content))
    sent = dcmread(console.settings.spool_dir / report.path)
    assert sent.SOPInstanceUID == taken.SOPInstanceUID == report.sop_instance_uid
    assert "pacs: waiting" in client.get(page).text
    assert kinds(console).count("check-released") == 2
    viewer = console.signed_in(Role.VIEWER)
    own = upload(viewer, ct_files(tmp_path / "b")).headers["location"]
    assert viewer.post(f"{own}/release", data={"destination": "pacs"}).status_code == 403


def test_lists_are_paged_by_key(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER, name="otto")
    with transaction(console.engine) as connection:
        user_id = connection.execute(sa.text("SELECT user_id FROM users WHERE user_name = 'otto'")).scalar_one()
        made = [
            {"check_id": f"{number:032x}", "user_id": user_id, "created_at": 1000.0 + number // 2, "state": "waiting"}
            for number in range(60)
        ]
        connection.execute(sa.insert(checks), made)
    pages, address = [], "/checks"
    while address:
        text = client.get(address).text
        pages.append([number for number in range(60) if f"/checks/{number:032x}" in text])
        address = (
            text.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0] if 'rel="next"' in text else ""
        )
        address = address.replace("&amp;", "&")
    assert [len(page) for page in pages] == [25, 25, 10]
    assert sorted(number for page in pages for number in page) == list(range(60))
    assert f"/checks/{34:032x}" in client.get(_link(text, "prev")).text
    assert "/checks/" in client.get("/checks?before=nonsense").text


def _link(text: str, relation: str) -> str:
    """Return where a page's link of this relation leads; empty where there is none."""
    before, found, _ = text.partition(f'rel="{relation}"')
    return before.rpartition('href="')[2].partition('"')[0].replace("&amp;", "&") if found else ""


def test_a_token_without_the_scope_can_not_check(console: ConsoleServer) -> None:
    client = console.with_token(Role.VIEWER, scopes=[Permission.STUDIES_READ])
    assert upload(client, [("a.png", picture())], path="/api/images").status_code == 403
