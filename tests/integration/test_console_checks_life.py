"""What becomes of checks: files go, rows stay; processes die with a check in hand; accounts take turns."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import check_files, checks
from medfake_pacs.database.tables import audit_events, scores
from medfake_pacs.workflows import check_retention, checking
from medfake_pacs.workflows.context import Context
from tests.console_support import ConsoleServer
from tests.console_uploads import (
    ct_files,
    kinds,
    left_behind,
    models_and_cache,
    picture,
    rows,
    run_worker,
    running_checks,
    running_worker,
    upload,
)

_DAY_S = 86_400.0


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a kill."""


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


def test_files_go_and_the_result_stays(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    page = upload(client, ct_files(tmp_path)).headers["location"]
    run_worker(worker)
    days = console.settings.console.check_retention_days
    assert check_retention.expire(worker, time.time() + (days - 0.1) * _DAY_S) == 0
    assert check_retention.expire(worker, time.time() + (days + 0.1) * _DAY_S) == 1
    assert not left_behind(console)
    shown = client.get(page).text
    assert "Files and report were deleted" in shown
    assert "1 of 1" in shown
    base = f"{page}/files/{rows(console, check_files)[0].file_id}"
    assert client.get(f"{base}/frames/1.png").status_code == 410
    assert client.get(f"{page}/report").status_code == 410
    assert client.post(f"{page}/release", data={"destination": "pacs"}).status_code == 410


def test_an_upload_whose_console_died_is_swept(console: ConsoleServer, worker: Context) -> None:
    user_id = console.add_user("anna", Role.VIEWER)
    folder = console.settings.checks_dir / ("a" * 32)
    folder.mkdir(parents=True)
    (folder / "00001").write_bytes(b"x")
    row = {"check_id": "a" * 32, "user_id": user_id, "created_at": time.time(), "state": "uploading"}
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(checks).values(row))
    check_retention.expire(worker, time.time() + 60)
    assert left_behind(console) == [folder]
    check_retention.expire(worker, time.time() + 3700)
    assert not left_behind(console)
    assert not rows(console, checks)


def test_a_check_that_breaks_off_three_times_has_failed(
    console: ConsoleServer, worker: Context, tmp_path: Path
) -> None:
    client = console.signed_in(Role.VIEWER)
    page = upload(client, ct_files(tmp_path)).headers["location"]
    for attempt in range(1, checking.MAXIMUM_ATTEMPTS + 1):
        with transaction(console.engine) as connection:
            dead = {"state": "running", "process_id": f"{worker.settings.node_id}/worker#dead", "attempts": attempt}
            connection.execute(sa.update(checks).values(started_at=time.time(), **dead))
        if attempt < checking.MAXIMUM_ATTEMPTS:
            stopping = threading.Event()
            stopping.set()
            checking.run_waiting(worker, stopping)
            assert rows(console, checks)[0].state == "running"
    run_worker(worker)
    assert rows(console, checks)[0].state == "failed"
    assert "broke off 3 times" in client.get(page).text
    assert kinds(console)[-1] == "check-failed"


def test_a_check_in_a_living_process_hand_is_left_to_it(
    console: ConsoleServer, worker: Context, tmp_path: Path
) -> None:
    upload(console.signed_in(Role.VIEWER), ct_files(tmp_path))
    with transaction(console.engine) as connection:
        held = {"state": "running", "process_id": "elsewhere:104/worker#x", "attempts": 1, "started_at": time.time()}
        connection.execute(sa.update(checks).values(**held))
    run_worker(worker)
    assert rows(console, checks)[0].process_id == "elsewhere:104/worker#x"
    with transaction(console.engine) as connection:
        connection.execute(sa.update(checks).values(started_at=time.time() - 3600))
    run_worker(worker)
    assert rows(console, checks)[0].state == "done"


def test_a_worker_that_stops_gives_the_check_back(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    """Asked to stop after the first images, it doesn't go on to the others, and the attempt doesn't count."""
    upload(console.signed_in(Role.VIEWER), ct_files(tmp_path, 9))

    class StopsLater(threading.Event):
        """Is set from the second question on."""

        asked = 0

        def is_set(self) -> bool:
            """Count the question."""
            self.asked += 1
            return self.asked > 1

    checking.run_waiting(worker, StopsLater())
    (row,) = rows(console, checks)
    assert (row.state, row.attempts, row.process_id) == ("waiting", 0, "")
    assert len(rows(console, scores)) == 8
    run_worker(worker)
    assert rows(console, checks)[0].state == "done"
    assert len(rows(console, scores)) == 9


def test_retention_that_dies_goes_on_where_it_was(
    console: ConsoleServer, worker: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any point, it deletes the images the next time; the page never says before that they are gone."""
    client = console.signed_in(Role.RADIOLOGIST)
    page = upload(client, ct_files(tmp_path, 2)).headers["location"]
    run_worker(worker)
    later = time.time() + (console.settings.console.check_retention_days + 1) * _DAY_S

    def dies(folder: Path) -> None:
        next(path for path in folder.iterdir() if path.is_file()).unlink()
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(check_retention.shutil, "rmtree", dies)
        with pytest.raises(KilledError):
            check_retention.expire(worker, later)
    assert left_behind(console)
    assert "Files and report were deleted" not in client.get(page).text
    assert check_retention.expire(worker, later) == 1
    assert not left_behind(console)
    assert "Files and report were deleted" in client.get(page).text


def test_files_that_can_not_be_deleted_are_tried_again(
    console: ConsoleServer, worker: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    upload(client, ct_files(tmp_path, 2))
    upload(client, ct_files(tmp_path / "b", 2))
    run_worker(worker)
    later = time.time() + (console.settings.console.check_retention_days + 1) * _DAY_S
    stuck, rmtree = left_behind(console)[0], shutil.rmtree

    def refuses(folder: Path) -> None:
        if folder == stuck:
            raise PermissionError(13, "Permission denied")
        rmtree(folder)

    with monkeypatch.context() as patch:
        patch.setattr(check_retention.shutil, "rmtree", refuses)
        assert check_retention.expire(worker, later) == 1
    assert left_behind(console) == [stuck]
    assert check_retention.expire(worker, later) == 1
    assert not left_behind(console)


def test_folders_that_no_check_keeps_are_swept(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    upload(client, ct_files(tmp_path))
    (kept,) = left_behind(console)
    orphan = console.settings.checks_dir / ("b" * 32)
    orphan.mkdir()
    (orphan / "00001").write_bytes(b"x")
    check_retention.expire(worker, time.time())
    assert orphan.exists()
    check_retention.expire(worker, time.time() + 3700)
    assert left_behind(console) == [kept]


def test_a_failed_check_is_logged_with_who_and_whose(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    files = ct_files(tmp_path, 2)
    upload(console.signed_in(Role.VIEWER, name="otto"), files)
    with transaction(console.engine) as connection:
        dead = {"state": "running", "process_id": f"{worker.settings.node_id}/worker#dead", "started_at": 1.0}
        connection.execute(sa.update(checks).values(attempts=checking.MAXIMUM_ATTEMPTS, **dead))
    run_worker(worker)
    event = rows(console, audit_events)[-1]
    uid = rows(console, check_files)[0].study_instance_uid
    assert (event.kind, event.study_instance_uid, event.patient_id) == ("check-failed", uid, "TEST-1")
    payload = json.loads(event.payload)["payload"]
    assert (payload["who"], payload["studies"]) == ("otto", [uid])


def test_accounts_take_turns(console: ConsoleServer, worker: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty uploads of one account don't hold up the one of another."""
    many, one = console.signed_in(Role.VIEWER, name="many"), console.signed_in(Role.VIEWER, name="one")
    for number in range(4):
        upload(many, [("a.png", picture(number))])
    upload(one, [("b.png", picture(9))])
    order = []
    monkeypatch.setattr(checking, "_run", lambda context, claimed, _stopping: _done(context, claimed, order))
    checking.run_waiting(worker, threading.Event())
    assert order == ["many", "one", "many", "many", "many"]


def _done(context: Context, claimed: checking.Claimed, order: list[str]) -> None:
    order.append(claimed.user_name)
    with transaction(context.engine) as connection:
        connection.execute(sa.update(checks).where(checks.c.check_id == claimed.check_id).values(state="done"))
