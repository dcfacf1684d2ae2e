"""SIGKILL at every named point of the receiver, then a restart: what was answered with Success is there."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from medfake_pacs import audit
from medfake_pacs.database import open_engine
from medfake_pacs.database.tables import associations
from tests.receiver_support import (
    CALLED,
    CALLING,
    Receiver,
    assert_spool_is_sound,
    audit_rows,
    content_sha256,
    ct_image,
    instance_rows,
    object_files,
    rows,
    running_receiver,
    save,
    store,
    write_config,
)
from tests.support import wait_for

SUCCESS = 0x0000
# Whether the object that was under way is in the spool after the restart, and was adopted there.
POINTS = {
    "receiver.association-accepted": False,
    "receiver.first-fragment": False,
    "receiver.before-fsync": False,
    "receiver.after-fsync": True,
    "receiver.after-rename": True,
    "receiver.after-directory-fsync": True,
    "receiver.in-transaction": True,
    "receiver.after-commit": None,
    "receiver.before-response": None,
    "receiver.association-released": None,
}


def _assert_log_is_whole(receiver: Receiver) -> None:
    engine = open_engine(receiver.settings.database_url)
    with engine.connect() as connection:
        verification = audit.verify(connection, None)
    engine.dispose()
    assert verification.ok, verification


@pytest.mark.parametrize("point", POINTS)
def test_what_was_answered_with_success_survives(tmp_path: Path, database_url: str, point: str) -> None:
    config = write_config(tmp_path, database_url)
    early, late = [ct_image() for _ in range(2)], [ct_image() for _ in range(2)]
    marker = tmp_path / "marker"
    # While the marker is there the point doesn't fire.
    marker.touch()
    crash = {"MEDFAKE_CRASH_POINT": point, "MEDFAKE_CRASH_MARKER": str(marker)}
    with running_receiver(config, environment=crash) as receiver:
        assert store(receiver.port, *early) == [SUCCESS] * 2
        closed = sa.select(associations).where(associations.c.closed_at.is_not(None))
        wait_for(lambda: rows(receiver.settings, closed), 10, "the first association to be closed")
        marker.unlink()
        answers = store(receiver.port, *late)
        wait_for(lambda: receiver.process.poll() is not None, 20, f"the receiver to die at {point}")
        assert receiver.process.returncode == -9
    assert marker.exists()

    with running_receiver(config) as receiver:
        _assert_recovered(receiver, early, late, answers, POINTS[point])
        again = [*early, *late]
        assert store(receiver.port, *again) == [SUCCESS] * 4
        assert [row.sop_instance_uid for row in instance_rows(receiver.settings)].count(late[0].SOPInstanceUID) == 1
        assert len(instance_rows(receiver.settings)) == len(object_files(receiver.settings)) == 4
        assert_spool_is_sound(receiver.settings)
        _assert_log_is_whole(receiver)


def _assert_recovered(
    receiver: Receiver, early: list[Dataset], late: list[Dataset], answers: list[int | None], adopted: bool | None
) -> None:
    recorded = [row.sop_instance_uid for row in instance_rows(receiver.settings)]
    assert len(recorded) == len(set(recorded))
    acknowledged = [image for image, status in zip(late, answers, strict=True) if status == SUCCESS]
    assert {image.SOPInstanceUID for image in (*early, *acknowledged)} <= set(recorded)
    assert_spool_is_sound(receiver.settings)
    assert len(object_files(receiver.settings)) == len(recorded)
    events = audit_rows(receiver.settings, "instance-adopted")
    assert [event["sop_instance_uid"] for event in events] == ([late[0].SOPInstanceUID] if adopted else [])
    if adopted is False:
        assert late[0].SOPInstanceUID not in recorded
    for row in instance_rows(receiver.settings):
        assert (row.calling_ae_title, row.called_ae_title, row.host) == (CALLING, CALLED, "127.0.0.1")
        assert row.association_id
    open_ones = sa.select(associations).where(associations.c.closed_at.is_(None))
    assert rows(receiver.settings, open_ones) == []


def test_a_second_receiver_leaves_what_the_first_is_receiving(tmp_path: Path) -> None:
    config = write_config(tmp_path, node="receivers = 2")
    with running_receiver(config, index=0) as first:
        folder = first.settings.spool_dir / "incoming"
        (own,) = folder.glob("*/")
        under_way = own / "object-under-way.dcm"
        under_way.write_bytes(b"half")
        dead = folder / "vm-receiver-7-1-abc"
        dead.mkdir()
        (dead / ".lock").touch()
        (dead / "object-cut-off.dcm").write_bytes(b"half")
        with running_receiver(config, index=1) as second:
            assert under_way.exists()
            assert not dead.exists()
            (swept,) = [event for event in second.events() if event["event"] == "spool swept"]
            assert swept["cut_off"] == 1


def test_a_damaged_object_without_a_row_is_set_aside(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with running_receiver(config) as receiver:
        assert store(receiver.port, ct_image()) == [SUCCESS]
        folder = receiver.settings.spool_dir / "objects"
        assert receiver.stop() == 0
    whole = save(ct_image(), tmp_path / "whole.dcm")
    digest = content_sha256(whole)
    (folder / digest[:2] / f"{digest}.dcm").write_bytes(whole.read_bytes())
    for name, content in (("a" * 64, b""), ("b" * 64, whole.read_bytes()[:-10]), ("c" * 64, b"\xff" * 500)):
        (folder / name[:2] / f"{name}.dcm").write_bytes(content)

    with running_receiver(config) as receiver:
        assert len(instance_rows(receiver.settings)) == 2
        (event,) = audit_rows(receiver.settings, "instance-adopted")
        assert event["payload"]["content_sha256"] == digest
        assert len(list(folder.glob("*/*.damaged"))) == 3
        assert store(receiver.port, ct_image()) == [SUCCESS]
