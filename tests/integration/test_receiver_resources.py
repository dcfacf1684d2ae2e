"""The receiver when room, database or patience run out: what senders are told, and that it recovers."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.database.tables import nodes
from tests.receiver_support import (
    CALLED,
    CALLING,
    Receiver,
    assert_spool_is_sound,
    associate_request,
    association,
    audit_rows,
    begin_object,
    connect,
    ct_image,
    incoming_files,
    instance_rows,
    object_files,
    read_pdu,
    rejection,
    rows,
    running_receiver,
    started_receiver,
    store,
    write_config,
)
from tests.support import IN_CI, wait_for

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def shared_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One receiver with short timeouts for the tests that abuse it."""
    limits = "acse_timeout_s = 2.0\nnetwork_timeout_s = 2.0\ndimse_timeout_s = 2.0\nmax_associations = 64\n"
    limits += "max_associations_per_peer = 64"
    with running_receiver(write_config(tmp_path_factory.mktemp("receiver"), association=limits)) as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        if IN_CI:
            pytest.fail("a tmpfs can't be mounted: run the tests as root")
        pytest.skip("a tmpfs can't be mounted without being root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("min_free_bytes", [0, 6 * MEGABYTE], ids=["to the last byte", "with a watermark"])
def test_a_full_disk_is_out_of_resources_until_there_is_room(small_disk: Path, min_free_bytes: int) -> None:
    with running_receiver(write_config(small_disk, min_free_bytes=min_free_bytes)) as receiver:
        images = [ct_image(rows=1024, fill=number) for number in range(16)]
        statuses = store(receiver.port, *images)
        assert set(statuses) == {SUCCESS, OUT_OF_RESOURCES}
        if min_free_bytes:
            state = os.statvfs(small_disk)
            assert state.f_bavail * state.f_frsize > min_free_bytes - 3 * MEGABYTE
        ballast = small_disk / "ballast"
        # To the very end, so that not even a journal page fits: the answer must not depend on the log.
        _fill(ballast)
        assert store(receiver.port, images[-1]) == [OUT_OF_RESOURCES]
        assert incoming_files(receiver.settings) == []
        ballast.unlink()

        kept = {image.SOPInstanceUID for image, status in zip(images, statuses, strict=True) if status == SUCCESS}
        recorded = {row.sop_instance_uid for row in instance_rows(receiver.settings)}
        assert kept == recorded
        assert_spool_is_sound(receiver.settings)
        # Somebody makes room, nobody restarts anything.
        for path in object_files(receiver.settings)[:4]:
            path.unlink()
        assert store(receiver.port, ct_image(rows=1024, fill=99)) == [SUCCESS]


def _fill(path: Path) -> None:
    """Write until not even a page fits."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        _write_for_ever(descriptor)
    os.close(descriptor)


def _write_for_ever(descriptor: int) -> None:
    while os.write(descriptor, bytes(4096)):
        pass


def test_an_object_that_outgrows_the_disk_is_refused_not_aborted(small_disk: Path) -> None:
    with running_receiver(write_config(small_disk)) as receiver, association(receiver.port) as assoc:
        assert assoc.send_c_store(ct_image(rows=3600)).Status == OUT_OF_RESOURCES
        assert assoc.send_c_store(ct_image()).Status == SUCCESS
        assert_spool_is_sound(receiver.settings)


def test_a_database_that_restarts_is_out_of_resources_meanwhile(tmp_path: Path, postgresql_url: str) -> None:
    url = sa.make_url(postgresql_url)
    admin = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    switch = f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS {{}}'
    with running_receiver(write_config(tmp_path, postgresql_url)) as receiver, association(receiver.port) as assoc:
        assert assoc.send_c_store(ct_image()).Status == SUCCESS
        with admin.connect() as connection:
            connection.exec_driver_sql(switch.format("false"))
            connection.execute(
                sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                {"name": url.database},
            )
        waiting = ct_image()
        assert assoc.send_c_store(waiting).Status == OUT_OF_RESOURCES
        with association(receiver.port) as other:
            assert other.send_c_store(waiting).Status == OUT_OF_RESOURCES
        with admin.connect() as connection:
            connection.exec_driver_sql(switch.format("true"))
        assert assoc.send_c_store(waiting).Status == SUCCESS
        assert len(instance_rows(receiver.settings)) == 2
        assert_spool_is_sound(receiver.settings)
    admin.dispose()


def _threads_and_descriptors(receiver: Receiver) -> tuple[int, int]:
    folder = Path(f"/proc/{receiver.process.pid}")
    descriptors = 0
    for descriptor in (folder / "fd").iterdir():
        # How many connections to the database are kept depends on how many were needed at once.
        with contextlib.suppress(FileNotFoundError):
            descriptors += not descriptor.readlink().name.startswith("medfake.db")
    return len(os.listdir(folder / "task")), descriptors


def _comes_back_to(receiver: Receiver, before: tuple[int, int]) -> bool:
    threads, descriptors = _threads_and_descriptors(receiver)
    return threads <= before[0] + 2 and descriptors <= before[1] + 4


def test_probes_and_aborted_associations_leave_nothing_behind(shared_receiver: Receiver) -> None:
    store(shared_receiver.port, ct_image())
    before = _threads_and_descriptors(shared_receiver)
    for _ in range(300):
        connect(shared_receiver.port).close()
    wait_for(lambda: _comes_back_to(shared_receiver, before), 20, "the probes' threads and sockets to go")
    for number in range(50):
        with connect(shared_receiver.port) as connection:
            connection.sendall(associate_request(CALLING, CALLED))
            assert read_pdu(connection)[0] == 0x02
            if number % 2:
                connection.sendall(bytes.fromhex("0700000000040000 0000"))
    wait_for(lambda: _comes_back_to(shared_receiver, before), 20, "the associations' threads and sockets to go")
    assert incoming_files(shared_receiver.settings) == []


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
        b"\x00" * 64,
        b"\x04\x00\x00\x00\x00\x10" + b"\x00" * 16,
        b"\x01\x00\xff\xff\xff\xff" + b"\x00" * 64,
        b"\x01\x00\x00\x00\x00\x20" + b"\xff" * 32,
        b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00",
    ],
    ids=["http", "zeros", "data first", "4 GiB", "garbage request", "abort first"],
)
def test_garbage_is_cut_off(shared_receiver: Receiver, data: bytes) -> None:
    with connect(shared_receiver.port) as connection:
        connection.sendall(data)
        connection.settimeout(10)
        answer = _until_the_end(connection)
        assert answer == b"" or answer[0] == 0x07
    assert rejection(shared_receiver.port) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x04\x00\x7f\xff\xff\xff",
        b"\x04\x00\x00\x00\x00\x06\xff\xff\xff\xff\x01\x03",
        b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x63\x03",
        b"\x04\x00\x00\x00\x00\x07\x00\x00\x00\x03\x01\x02\x00",
        b"\x04\x00\x00\x00\x00\x0a\x00\x00\x00\x06\x01\x03\xff\xff\xff\xff",
        b"\x02\x00\x00\x00\x00\x04\x00\x00\x00\x00",
    ],
    ids=["2 GiB", "value too long", "unknown context", "data before command", "garbage command", "an acceptance"],
)
def test_garbage_inside_an_association_aborts_it(shared_receiver: Receiver, data: bytes) -> None:
    with connect(shared_receiver.port) as connection:
        connection.sendall(associate_request(CALLING, CALLED))
        assert read_pdu(connection)[0] == 0x02
        connection.sendall(data)
        connection.settimeout(10)
        assert _until_the_end(connection)[0] == 0x07
    assert store(shared_receiver.port, ct_image()) == [SUCCESS]


def _until_the_end(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while more := connection.recv(4096):
            answer += more
    except ConnectionResetError:
        pass
    return answer


def test_who_dribbles_is_cut_off_and_hinders_nobody(shared_receiver: Receiver) -> None:
    before = _threads_and_descriptors(shared_receiver)
    request = associate_request(CALLING, CALLED)
    silent = [connect(shared_receiver.port) for _ in range(5)]
    halfway = [connect(shared_receiver.port) for _ in range(5)]
    stuck = [connect(shared_receiver.port) for _ in range(5)]
    for connection in halfway:
        connection.sendall(request[:40])
    for connection in stuck:
        connection.sendall(request)
        assert read_pdu(connection)[0] == 0x02
        connection.sendall(b"\x04\x00\x00\x00\x10\x00\x00")
    assert store(shared_receiver.port, ct_image()) == [SUCCESS]
    for connection in (*silent, *halfway, *stuck):
        connection.settimeout(15)
        _until_the_end(connection)
        connection.close()
    wait_for(lambda: _comes_back_to(shared_receiver, before), 20, "their threads and sockets to go")


def test_an_idle_association_is_aborted_after_the_network_timeout(shared_receiver: Receiver) -> None:
    with connect(shared_receiver.port) as connection:
        connection.sendall(associate_request(CALLING, CALLED))
        assert read_pdu(connection)[0] == 0x02
        connection.settimeout(15)
        assert _until_the_end(connection)[0] == 0x07


def test_an_object_cut_off_in_the_middle_leaves_no_file(shared_receiver: Receiver) -> None:
    with association(shared_receiver.port) as assoc:
        assert assoc.send_c_store(ct_image()).Status == SUCCESS
    with connect(shared_receiver.port) as connection:
        begin_object(connection)
        wait_for(lambda: incoming_files(shared_receiver.settings), 10, "the object to begin")
    wait_for(lambda: not incoming_files(shared_receiver.settings), 10, "the object to be discarded")


def test_a_stop_lets_what_is_open_finish_and_refuses_the_rest(tmp_path: Path, database_url: str) -> None:
    with running_receiver(write_config(tmp_path, database_url)) as receiver:
        with association(receiver.port) as assoc:
            assert assoc.send_c_store(ct_image()).Status == SUCCESS
            early = connect(receiver.port)
            receiver.process.send_signal(signal.SIGTERM)
            wait_for(lambda: receiver.has_logged("stopping"), 10, "the stop to begin")
            wait_for(lambda: _is_refused(receiver.port), 10, "the port to be closed")
            assert assoc.send_c_store(ct_image()).Status == SUCCESS
            assert receiver.process.poll() is None
            early.sendall(associate_request(CALLING, CALLED))
            assert tuple(read_pdu(early)[7:10]) == (2, 3, 1)
            early.close()
        assert receiver.process.wait(20) == 0
        assert len(instance_rows(receiver.settings)) == 2
        assert list((receiver.settings.spool_dir / "incoming").glob("*/")) == []
        assert [len(audit_rows(receiver.settings, kind)) for kind in ("node-started", "node-stopped")] == [1, 1]


def _is_refused(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    config = write_config(tmp_path, association="network_timeout_s = 2.0")
    with running_receiver(config) as receiver, connect(receiver.port) as connection:
        connection.sendall(associate_request(CALLING, CALLED))
        assert read_pdu(connection)[0] == 0x02
        receiver.process.send_signal(signal.SIGINT)
        assert receiver.process.wait(20) == 0


def test_a_stop_that_takes_its_time_still_beats(tmp_path: Path) -> None:
    with running_receiver(write_config(tmp_path)) as receiver, association(receiver.port):
        receiver.process.send_signal(signal.SIGTERM)
        wait_for(lambda: receiver.has_logged("stopping"), 10, "the stop to begin")
        stopping_at = time.time()
        beats = sa.select(nodes.c.heartbeat_at)
        wait_for(lambda: rows(receiver.settings, beats)[0].heartbeat_at > stopping_at + 2, 10, "a later heartbeat")
        assert receiver.process.poll() is None


def test_two_receivers_share_a_port_a_spool_and_a_database(tmp_path: Path, database_url: str) -> None:
    config = write_config(tmp_path, database_url, node="receivers = 2")
    with running_receiver(config, index=0) as first, running_receiver(config, index=1) as second:
        images = [ct_image() for _ in range(12)]
        for image in images:
            assert store(first.port, image) == [SUCCESS]
        ends = sum(event["event"] == "association ended" for one in (first, second) for event in one.events())
        assert ends >= len(images) - 1
        assert_spool_is_sound(first.settings)
        assert {row.sop_instance_uid for row in instance_rows(first.settings)} == {
            image.SOPInstanceUID for image in images
        }
        beats = rows(first.settings, sa.select(nodes.c.node_id, nodes.c.role, nodes.c.process_id))
        assert {(row.role, row.process_id) for row in beats} == {
            ("receiver", first.process.pid),
            ("receiver", second.process.pid),
        }


def test_a_taken_port_is_said_and_ends_the_process(shared_receiver: Receiver, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace(f"port = {_port(config)}", f"port = {shared_receiver.port}"))
    with started_receiver(config) as receiver:
        assert receiver.process.wait(20) == 1
        assert any("Address already in use" in event.get("reason", "") for event in receiver.events())


def _port(config: Path) -> str:
    return config.read_text().split("port = ")[1].split("\n")[0]


def test_no_model_and_no_torch_is_loaded_and_memory_is_small(shared_receiver: Receiver) -> None:
    code = (
        "import sys, medfake_pacs.receiver; "
        "print([name for name in ('torch', 'highdicom', 'openvino', 'scipy', 'timm', 'dbos') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "[]"
    status = Path(f"/proc/{shared_receiver.process.pid}/status").read_text()
    assert int(status.split("VmRSS:")[1].split()[0]) < 150_000
