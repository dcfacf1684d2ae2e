"""How much of the disk uploads may take: never the receiver's room, and no account all of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.console.errors import GoneError
from medfake_pacs.console.queries import check_release
from medfake_pacs.console.queries.checks import check_of
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.security.permissions import Role, permissions_of
from medfake_pacs.database.console_tables import checks, users
from medfake_pacs.database.tables import deliveries, reports
from medfake_pacs.spool.spool import free_bytes
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

Start = Callable[..., ConsoleServer]
ROOM = 1_000_000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small models and, beside it, the cache that they are compiled into."""
    return models_and_cache(tmp_path_factory.mktemp("checks"))


@pytest.fixture
def start(tmp_path: Path, database_url: str, models: Path) -> Iterator[Start]:
    """Yield a function that starts a console with these settings."""
    with ExitStack() as stack:
        yield lambda **extra: stack.enter_context(running_checks(tmp_path, database_url, models, extra))


def test_uploads_leave_the_receiver_its_room(start: Start, tmp_path: Path) -> None:
    """The disk has more than the receiver needs, and less than twice that."""
    least = free_bytes(tmp_path) * 2 // 3
    console = start(spool={"min_free_bytes": least})
    answer = upload(console.signed_in(Role.VIEWER), [("a.png", picture())])
    assert answer.status_code == 507
    assert "kept for the images that it receives" in answer.text
    assert not left_behind(console)
    assert free_bytes(tmp_path) > least


def test_an_account_has_its_share_and_makes_room_itself(start: Start, tmp_path: Path) -> None:
    console = start(console={"max_account_checks_bytes": ROOM, "max_checks_bytes": 10 * ROOM})
    client = console.signed_in(Role.RADIOLOGIST)
    page = upload(client, [(f"{n}.png", picture(n, 512)) for n in range(3)]).headers["location"]
    assert client.post(f"{page}/delete").status_code == 409
    answer = upload(client, [("b.png", picture(9, 512))])
    assert answer.status_code == 507
    assert "Your checks take" in answer.text
    assert len(rows(console, checks)) == 1
    assert upload(console.signed_in(Role.VIEWER), [("b.png", picture(9, 512))]).status_code == 303
    with running_worker(console) as worker:
        run_worker(worker)
    assert "Delete the files" in client.get(page).text
    assert console.signed_in(Role.RADIOLOGIST).post(f"{page}/delete").status_code == 404
    assert client.post(f"{page}/delete").status_code == 303
    shown = client.get(page).text
    assert "Files and report were deleted" in shown
    assert "0 of 3" in shown
    assert client.get(f"{page}/report").status_code == 410
    assert client.post(f"{page}/delete").status_code == 410
    assert upload(client, [("b.png", picture(9, 512))]).status_code == 303
    assert kinds(console).count("check-deleted") == 1


def test_all_checks_have_their_share(start: Start) -> None:
    console = start(console={"max_checks_bytes": ROOM})
    assert upload(console.signed_in(Role.VIEWER), [(f"{n}.png", picture(n, 512)) for n in range(3)]).status_code == 303
    answer = upload(console.with_token(Role.VIEWER), [("b.png", picture(9, 512))], path="/api/images")
    assert answer.status_code == 507
    assert "All checks on this node take" in answer.json()["detail"]
    assert len(left_behind(console)) == 1


def test_a_release_that_fails_leaves_no_copy(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = start()
    client = console.signed_in(Role.RADIOLOGIST, name="anna")
    check_id = upload(client, ct_files(tmp_path)).headers["location"].rpartition("/")[2]
    with running_worker(console) as worker:
        run_worker(worker)
    identity = Identity(
        user_id=next(row.user_id for row in rows(console, users) if row.user_name == "anna"),
        user_name="anna",
        display_name="Anna",
        roles=frozenset({Role.RADIOLOGIST}),
        permissions=permissions_of([Role.RADIOLOGIST]),
        host="127.0.0.1",
    )
    check = check_of(console.services, identity, check_id)

    def fails(*_arguments: object) -> None:
        raise sa.exc.OperationalError("", {}, OSError("the database is gone"))

    with monkeypatch.context() as patch:
        patch.setattr(check_release, "enqueue", fails)
        with pytest.raises(sa.exc.OperationalError):
            check_release.release(console.services, identity, check, ["pacs"])
    copies = console.settings.reports_dir / "checks"
    assert not list(copies.iterdir())
    check_release.release(console.services, identity, check, ["pacs"])
    check_release.release(console.services, identity, check, ["pacs"])
    assert len(list(copies.iterdir())) == len(rows(console, reports)) == len(rows(console, deliveries)) == 1
    # Retention is quicker than the release: the check was read before.
    client.post(f"/checks/{check_id}/delete")
    with pytest.raises(GoneError):
        check_release.release(console.services, identity, check, ["pacs"])
    assert len(list(copies.iterdir())) == 1
