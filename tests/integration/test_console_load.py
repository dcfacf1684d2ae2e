"""What one account, or nobody in particular, can ask of the console without taking it from the others."""

import asyncio
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import sqlalchemy as sa
from PIL import Image

from medfake_pacs.console import connections, guards, process
from medfake_pacs.console.errors import BusyError, TooManyRequestsError
from medfake_pacs.console.queries.check_images import viewer_frames
from medfake_pacs.console.queries.checks import Check
from medfake_pacs.console.rendering import pictures
from medfake_pacs.console.rendering.frames import Frame, FrameReader, FrameSource
from medfake_pacs.console.rendering.turns import Turns
from medfake_pacs.console.security.identity import Identity
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.console.uploads import recording
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import checks, console_sessions
from medfake_pacs.database.tables import instances
from medfake_pacs.entities import ImageAttributes, ImageFinding, VerdictLabel
from medfake_pacs.workflows.context import Decoders, pixel_limits
from tests import material
from tests.console_studies import Studies, fake_from
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.console_uploads import ct_files, left_behind, rows
from tests.support import wait_for


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path)) as running:
        yield running


@contextmanager
def _memory_below(limit_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("declared", [400_000, 2_147_483_647])
def test_an_image_that_declares_many_frames_costs_no_more_than_are_shown(
    console: ConsoleServer, studies: Studies, declared: int
) -> None:
    uid = studies.make(material.ct_series(3), fake_from(1, 3))
    with transaction(console.engine) as connection:
        connection.execute(sa.update(instances).where(instances.c.instance_id == 2).values(number_of_frames=declared))
    client = console.signed_in(Role.VIEWER)
    with _memory_below(60_000_000):
        answer = client.get(f"/studies/{uid}")
    assert answer.status_code == 200
    assert f"{declared + 2 - 4000}" in answer.text.replace(",", "")


def test_the_frames_of_a_check_end_with_those_that_are_shown() -> None:
    attributes = ImageAttributes(
        sop_class_uid="", sop_instance_uid="", study_instance_uid="", series_instance_uid="", number_of_frames=2**31 - 1
    )
    found = ImageFinding(
        instance_id=1,
        attributes=attributes,
        label=VerdictLabel.NOT_ASSESSED,
        reason="too large",
        probability=None,
        score=None,
    )
    series = SimpleNamespace(findings=[found] * 5000, series_description="")
    file = SimpleNamespace(file_id=1, name="a.dcm", kind="dicom")
    check = SimpleNamespace(check_id="c", studies=[SimpleNamespace(series=[series])], files={1: file})
    with _memory_below(60_000_000):
        assert len(viewer_frames(cast(Check, check))) == 3000


def test_who_asks_for_too_many_pictures_waits_alone(
    console: ConsoleServer, studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    [number] = studies.receive(material.ct_series(1))
    go_on = threading.Event()
    decode = FrameReader._decode

    def slow(reader: FrameReader, source: FrameSource, wanted: int) -> Frame:
        go_on.wait(60)
        return decode(reader, source, wanted)

    monkeypatch.setattr(FrameReader, "_decode", slow)
    cookies = console.signed_in(Role.VIEWER).cookies

    def ask(_: int) -> httpx.Response:
        with httpx.Client(base_url=console.url, cookies=cookies, timeout=60) as client:
            return client.get(f"/images/{number}/frames/1.raw")

    with ThreadPoolExecutor(80) as pool:
        asked = [pool.submit(ask, each) for each in range(80)]
        wait_for(lambda: sum(each.done() for each in asked) == 16, 60, "those to be refused who are too many")
        refused = [each.result() for each in asked if each.done()]
        assert all(each.status_code == 503 and each.headers["retry-after"] for each in refused)
        # Neither what takes no thread nor what takes one waits for them.
        assert httpx.get(f"{console.url}/healthz", timeout=20).status_code == 200
        assert httpx.get(f"{console.url}/sign-in", timeout=20).status_code == 200
        go_on.set()
        assert sorted({each.result().status_code for each in asked}) == [200, 503]
    assert sum(each.result().status_code == 200 for each in asked) == 64


def test_a_turn_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async def second() -> None:
        turns = Turns(1, wait_s=0.05)
        async with turns.taken(1):
            with pytest.raises(BusyError):
                async with turns.taken(2):
                    pass
        async with turns.taken(2):
            pass

    asyncio.run(second())


def test_of_a_large_frame_what_can_be_shown_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (4200, 4200), 7).save(path)
    decoders = Decoders(pixel_limits(console_settings(tmp_path)))
    try:
        reader = FrameReader(decoders, kept_bytes=20_000_000)
        source = FrameSource(path=path, digest="large")
        frame = reader.read(source, 1)
        assert reader.read(source, 1) is frame
    finally:
        decoders.close()
    assert frame.values.shape == (2100, 2100)
    assert (frame.rows, frame.columns, frame.reduction) == (4200, 4200, 2)
    assert pictures.raw(frame).headers["X-Frame-Reduction"] == "2"


def test_an_error_page_waits_for_no_writer(console: ConsoleServer) -> None:
    client = console.signed_in(Role.VIEWER)
    with transaction(console.engine) as connection:
        # Long enough that the next request would be noted.
        connection.execute(sa.update(console_sessions).values(last_seen_at=time.time() - 600))
    with transaction(console.engine), ThreadPoolExecutor(1) as pool:
        page = pool.submit(client.get, "/nothing-is-here")
        assert httpx.get(f"{console.url}/healthz", timeout=20).status_code == 200
        assert page.result(20).status_code == 404
    assert "Sign out" in page.result().text


def test_an_upload_that_breaks_off_while_others_write_stops_nobody(console: ConsoleServer) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in console.signed_in(Role.VIEWER).cookies.items())
    head = f"Host: x\r\nOrigin: {console.url}\r\nSec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\n"
    part = '--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nxxxx'
    form = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n{part}"
    with _connected(console) as connection:
        connection.sendall(f"POST /checks HTTP/1.1\r\n{head}{form}".encode())
        wait_for(lambda: rows(console, checks), 20, "the upload to begin")
        wait_for(lambda: left_behind(console), 20, "its folder")
        with transaction(console.engine):
            connection.close()
            wait_for(lambda: not left_behind(console), 20, "its folder to go")
            assert httpx.get(f"{console.url}/healthz", timeout=20).status_code == 200
    wait_for(lambda: not rows(console, checks), 20, "its row to go")


@contextmanager
def _connected(console: ConsoleServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(console.url.rpartition(":")[2])), timeout=20) as connection:
        yield connection


def _until_closed(connection: socket.socket) -> bytes:
    content = b""
    while piece := connection.recv(65536):
        content += piece
    return content


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
def test_a_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(guards, "BODY_S", 0.3)
    with running_console(console_settings(tmp_path)) as console, _connected(console) as connection:
        head = f"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: {console.url}\r\nSec-Fetch-Site: same-origin\r\n"
        connection.sendall(f"{head}Content-Type: {kind}\r\nContent-Length: 1000\r\n\r\n--b\r\n".encode())
        answer = _until_closed(connection)
        assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
        assert b"content-security-policy" in answer.lower()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /he"]
)
def test_a_connection_without_a_request_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 0.3)
    with running_console(console_settings(tmp_path)) as console, _connected(console) as connection:
        connection.sendall(sent)
        assert (b"ok" in _until_closed(connection)) is (b"\r\n\r\n" in sent)


def test_more_connections_than_it_takes_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_CONNECTIONS", 5)
    with running_console(console_settings(tmp_path)) as console:
        with ExitStack() as idle:
            for _ in range(6):
                idle.enter_context(_connected(console))

            def status() -> int:
                return httpx.get(f"{console.url}/healthz", timeout=20).status_code

            wait_for(lambda: status() == 503, 20, "the console to be full")
        wait_for(lambda: status() == 200, 20, "the console to have room again")


def test_a_form_is_small(console: ConsoleServer) -> None:
    client = console.anonymous()
    form = {"user_name": "a", "password": "b" * 70_000}
    assert client.post("/sign-in", data=form).status_code == 413
    assert client.post("/sign-in", files={key: (None, value) for key, value in form.items()}).status_code == 413


def test_uploads_that_begin_at_the_same_time_count_one_another(tmp_path: Path, database_url: str) -> None:
    with running_console(console_settings(tmp_path, database_url)) as console:
        user_id = console.add_user("weber", Role.VIEWER)
        identity = SimpleNamespace(user_id=user_id)

        def begin(number: int) -> bool:
            try:
                recording.begin(console.engine, f"{number:032x}", cast(Identity, identity))
            except TooManyRequestsError:
                return False
            return True

        with ThreadPoolExecutor(10) as pool:
            assert sum(pool.map(begin, range(40))) == 20


def test_a_rule_is_tested_only_where_there_is_room_for_the_file(tmp_path: Path) -> None:
    [(name, content)] = ct_files(tmp_path)
    with running_console(console_settings(tmp_path, "", {"spool": {"min_free_bytes": 10**18}})) as console:
        client = console.signed_in(Role.ADMINISTRATOR)
        answer = client.post("/node/route-test", files={"file": (name, content, "application/dicom")})
        assert answer.status_code == 507
        assert left_behind(console) == []


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_what_anybody_may_ask_costs_once(console: ConsoleServer, path: str) -> None:
    client = console.anonymous()
    first = client.get(path)
    asked: list[str] = []

    def note(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    sa.event.listen(console.engine, "before_cursor_execute", note)
    try:
        answers = [client.get(path) for _ in range(5)]
    finally:
        sa.event.remove(console.engine, "before_cursor_execute", note)
    assert {(each.status_code, each.text) for each in answers} == {(first.status_code, first.text)}
    assert asked == []
