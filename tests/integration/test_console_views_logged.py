"""Whoever is shown patients is in the log: once an hour where a page refreshes itself or has many parts."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.console_tables import check_files
from medfake_pacs.database.tables import audit_events, studies
from tests.console_support import ConsoleServer
from tests.console_uploads import (
    ct_files,
    models_and_cache,
    picture,
    rows,
    run_worker,
    running_checks,
    running_worker,
    upload,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small models and, beside it, the cache that they are compiled into."""
    return models_and_cache(tmp_path_factory.mktemp("checks"))


@pytest.fixture
def console(tmp_path: Path, database_url: str, models: Path) -> Iterator[ConsoleServer]:
    """Yield a console on a node with one study, which waits for its verdict since yesterday."""
    with running_checks(tmp_path, database_url, models) as running:
        study = {"study_instance_uid": "1.2.3", "patient_id": "P-77", "modality": "CT", "calling_ae_title": "CT1"}
        with transaction(running.engine) as connection:
            long_ago = time.time() - 86_400
            times = {"first_received_at": long_ago, "last_received_at": long_ago}
            connection.execute(sa.insert(studies).values(revision=1, **study, **times))
        yield running


def _events(console: ConsoleServer, kind: str) -> list[sa.Row]:
    with reading(console.engine) as connection:
        return list(connection.execute(sa.select(audit_events).where(audit_events.c.kind == kind)).all())


def test_looking_at_the_whole_worklist_is_logged_once(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)
    assert "P-77" in client.get("/worklist").text
    for address in ("/worklist?order=oldest", "/worklist/rows", "/worklist/rows"):
        client.get(address)
    assert len(_events(console, "worklist-viewed")) == 1
    token = console.with_token(Role.VIEWER)
    for _ in range(2):
        assert token.get("/api/studies").json()["studies"][0]["patient_id"] == "P-77"
    assert len(_events(console, "worklist-viewed")) == 2
    assert not _events(console, "worklist-searched")
    client.get("/worklist?patient_id=P-77")
    assert len(_events(console, "worklist-searched")) == 1


def test_reading_reviews_and_statistics_is_logged(console: ConsoleServer) -> None:
    token = console.with_token(Role.VIEWER)
    assert token.get("/api/studies/1.2.3/reviews").status_code == 200
    assert [event.study_instance_uid for event in _events(console, "study-viewed")] == ["1.2.3"]
    auditor = console.signed_in(Role.AUDITOR)
    for _ in range(2):
        assert "P-77" in auditor.get("/statistics").text
    assert len(_events(console, "statistics-viewed")) == 1


def test_reading_the_check_of_another_is_logged_by_any_way(console: ConsoleServer, tmp_path: Path) -> None:
    page = upload(console.signed_in(Role.VIEWER), ct_files(tmp_path)).headers["location"]
    check_id = page.rpartition("/")[2]
    base = f"{page}/files/{rows(console, check_files)[0].file_id}"
    administrators = [console.signed_in(Role.ADMINISTRATOR) for _ in range(4)]
    token = console.with_token(Role.ADMINISTRATOR)
    assert token.get(f"/api/images/{check_id}").json()["state"] == "waiting"
    assert not _events(console, "check-viewed")
    with running_worker(console) as worker:
        run_worker(worker)
    for _ in range(2):
        assert token.get(f"/api/images/{check_id}").json()["images_scored"] == 1
        assert token.get(f"/api/images/{check_id}/heatmap").status_code == 200
    for client, name in zip(
        administrators, ("frames/1.png", "frames/1.raw", "overlay.png", "heatmap.png"), strict=True
    ):
        for _ in range(2):
            assert client.get(f"{base}/{name}").status_code == 200
    viewed = _events(console, "check-viewed")
    assert len(viewed) == 5
    assert {event.patient_id for event in viewed} == {"TEST-1"}


def test_a_picture_of_a_check_that_waits_is_logged_too(console: ConsoleServer) -> None:
    page = upload(console.signed_in(Role.VIEWER), [("a.png", picture())]).headers["location"]
    address = f"{page}/files/{rows(console, check_files)[0].file_id}/frames/1.png"
    assert console.signed_in(Role.ADMINISTRATOR).get(address).status_code == 200
    assert len(_events(console, "check-viewed")) == 1
