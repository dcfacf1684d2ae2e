"""What isn't taken as an upload: refused with a reason, and nothing of it is left behind."""

import io
import socket
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database.console_tables import check_files, checks
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.console_uploads import ct_files, left_behind, make_models, picture, rows, upload, zipped
from tests.support import wait_for

MAX_BYTES = 5_000_000
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleServer]:
    """Yield a console that takes small uploads; no worker runs."""
    folder = tmp_path_factory.mktemp("console")
    extra = {
        "console": {"max_upload_bytes": MAX_BYTES},
        "scoring": {"models_dir": str(make_models(folder / "models"))},
    }
    with running_console(console_settings(folder, extra=extra)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_client(console: ConsoleServer) -> httpx.Client:
    """Return the client of one account; refused uploads don't count against it."""
    return console.signed_in(Role.VIEWER)


@pytest.fixture
def client(console: ConsoleServer, shared_client: httpx.Client) -> Iterator[httpx.Client]:
    """Yield the client, and check that the test left nothing behind."""
    before = (left_behind(console), len(rows(console, checks)), len(rows(console, check_files)))
    yield shared_client
    assert (left_behind(console), len(rows(console, checks)), len(rows(console, check_files))) == before


def ct(folder: Path) -> bytes:
    """Return one CT slice as a file."""
    return ct_files(folder)[0][1]


def structured_report() -> bytes:
    """Return a DICOM object without an image."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (generate_uid() for _ in range(3))
    dataset.Modality = "SR"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (SVG, 415, "an SVG drawing"),
        (b"<!DOCTYPE html><html><script>alert(1)</script></html>", 415, "an HTML page"),
        (b"\xef\xbb\xbf  <html>", 415, "an HTML page"),
        (b"%PDF-1.7\n", 415, "a PDF document"),
        (b"GIF89a" + b"\0" * 200, 415, "a GIF picture"),
        (b"MZ" + b"\0" * 200, 415, "a program"),
        (b"\x1f\x8b" + b"\0" * 200, 415, "a gzip archive"),
        (b"just text", 415, "neither DICOM nor PNG nor JPEG"),
        (b"", 422, "the file is empty"),
        (structured_report(), 415, "a DICOM object without an image (Comprehensive 3D SR Storage)"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 64, 422, "a DICOM file that can&#39;t be read"),
        (picture()[:-30], 415, "a PNG file that is damaged"),
        (picture(kind="JPEG")[:-30], 415, "a JPEG file that is damaged"),
        (b"PK\x03\x04" + b"\0" * 100, 422, "a ZIP archive that is damaged"),
    ],
    ids=lambda value: value[:12].hex() if isinstance(value, bytes) else None,
)
def test_what_is_no_image_is_named(client: httpx.Client, content: bytes, status: int, said: str) -> None:
    answer = upload(client, [("image.png", content)])
    assert answer.status_code == status
    assert said in answer.text
    assert "image.png" in answer.text


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_that_is_an_archive_too_is_refused(client: httpx.Client, kind: str) -> None:
    polyglot = picture(kind=kind) + zipped([("evil.html", b"<script>alert(1)</script>")])
    answer = upload(client, [("image", polyglot)])
    assert answer.status_code == 415
    assert "other content behind its picture" in answer.text


def test_an_archive_hidden_in_a_picture_is_refused(client: httpx.Client) -> None:
    """A ZIP archive may have a comment behind it: here the picture's end is that comment."""
    clean = picture()
    content = zipped([("evil.html", b"x")])
    end = clean[-12:]
    # The comment's length, at the end of the archive's end record, covers the checksum and the end chunk.
    content = content[:-2] + struct.pack("<H", 4 + len(end))
    chunk = b"teXt" + content
    hidden = clean[:-12] + struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + end
    with zipfile.ZipFile(io.BytesIO(hidden)) as archive:
        assert archive.namelist() == ["evil.html"]
    answer = upload(client, [("image.png", hidden)])
    assert answer.status_code == 415
    assert "an image that is a ZIP archive too" in answer.text


@pytest.mark.parametrize(
    "preamble", [b"MZ\x90\0", b"\x7fELF", b"<html><script>", b"#!/bin/sh\n", b"%PDF-1.4", b"PK\x03\x04"]
)
def test_a_dicom_object_that_begins_as_something_else_is_refused(
    client: httpx.Client, tmp_path: Path, preamble: bytes
) -> None:
    content = preamble.ljust(128, b"\0") + ct(tmp_path)[128:]
    answer = upload(client, [("image.dcm", content)])
    assert answer.status_code == 415
    assert "by its preamble" in answer.text


def test_an_object_with_an_archive_behind_its_pixels_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    answer = upload(client, [("image.dcm", ct(tmp_path) + zipped([("evil.exe", b"MZ")]))])
    assert answer.status_code == 415
    assert "a ZIP archive too" in answer.text


def test_a_zip_bomb_stops_at_what_really_comes_out(client: httpx.Client) -> None:
    bomb = zipped([("a.dcm", b"\0" * (MAX_BYTES + 1))])
    assert len(bomb) < 10_000
    answer = upload(client, [("study.zip", bomb)])
    assert answer.status_code == 413
    assert "5,000,000 bytes at most, unpacked" in answer.text
    many = zipped([(f"{number}.dcm", b"\0" * 1_000_000) for number in range(6)])
    assert upload(client, [("study.zip", many)]).status_code == 413


def test_a_zip_bomb_that_lies_about_its_size_is_refused(client: httpx.Client) -> None:
    bomb = bytearray(zipped([("a.dcm", b"\0" * (MAX_BYTES + 1))]))
    place = bomb.rfind(b"PK\x01\x02")
    bomb[place + 24 : place + 28] = struct.pack("<I", 100)
    assert upload(client, [("study.zip", bytes(bomb))]).status_code in {413, 422}


def test_an_archive_of_too_many_files_is_refused_before_it_is_unpacked(client: httpx.Client) -> None:
    many = zipped([(f"{number}", b"") for number in range(10_001)], compression=zipfile.ZIP_STORED)
    answer = upload(client, [("study.zip", many)])
    assert answer.status_code == 413
    assert "more than 5,000 files" in answer.text


def test_an_archive_in_an_archive_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    nested = zipped([("good.dcm", ct(tmp_path)), ("inner.zip", zipped([("x", b"x")]))])
    answer = upload(client, [("study.zip", nested)])
    assert answer.status_code == 415
    assert "inner.zip: an archive in an archive" in answer.text


def test_links_and_encrypted_entries_are_refused(client: httpx.Client, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    answer = upload(client, [("study.zip", buffer.getvalue())])
    assert answer.status_code == 422
    assert "a ZIP archive with a link" in answer.text
    locked = bytearray(zipped([("a.dcm", ct(tmp_path))]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.find(signature) + offset] |= 1
    answer = upload(client, [("study.zip", bytes(locked))])
    assert answer.status_code == 422
    assert "encrypted" in answer.text


def test_one_bad_file_refuses_all_and_every_bad_one_is_named(client: httpx.Client, tmp_path: Path) -> None:
    files = [("good.dcm", ct(tmp_path)), ("<b>one.svg", SVG), ("two.pdf", b"%PDF-1.7")]
    answer = upload(client, files)
    assert answer.status_code == 415
    assert "&lt;b&gt;one.svg" in answer.text
    assert "two.pdf" in answer.text
    assert "<b>one" not in answer.text


def test_an_archive_without_images_is_refused(client: httpx.Client) -> None:
    answer = upload(client, [("study.zip", zipped([("README.txt", b"hello")]))])
    assert answer.status_code == 422
    assert "There is no image in this upload" in answer.text


def test_a_model_that_is_not_installed_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    answer = upload(client, [("a.dcm", ct(tmp_path))], model="hip-xr")
    assert answer.status_code == 422
    assert "Choose a model that is installed" in answer.text


def test_no_file_and_no_form_are_refused(client: httpx.Client) -> None:
    assert upload(client, [("", b"")]).status_code == 422
    assert client.post("/checks", content=b"hello", headers={"Content-Type": "text/plain"}).status_code == 415
    answer = client.post("/checks", content=b"hello", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 422


def _send(console: ConsoleServer, client: httpx.Client, length: int, body: bytes = b"") -> socket.socket:
    """Send a request as bytes, which may be fewer than it announces; return the connection."""
    host, port = console.url.removeprefix("http://").split(":")
    lines = (
        "POST /checks HTTP/1.1",
        f"Host: {host}:{port}",
        f"Origin: {console.url}",
        f"Cookie: {'; '.join(f'{name}={value}' for name, value in client.cookies.items())}",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {length}",
    )
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall("\r\n".join((*lines, "", "")).encode() + body)
    return connection


def test_two_gigabytes_are_refused_by_their_announcement(console: ConsoleServer, client: httpx.Client) -> None:
    with _send(console, client, 2_147_483_648) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_too_much_in_pieces_is_refused_when_it_is_too_much(client: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.dcm"\r\n\r\n'
        for _ in range(MAX_BYTES // 100_000 + 2):
            yield b"\0" * 100_000
        yield b"\r\n--x--\r\n"

    answer = client.post("/checks", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413


def test_an_upload_that_breaks_off_leaves_nothing(console: ConsoleServer, client: httpx.Client) -> None:
    """The client fixture checks that neither row nor folder is left; here the folder is seen to go."""
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.dcm"\r\n\r\n' + b"\0" * 2_000_000
    before = len(left_behind(console))
    with _send(console, client, 4_000_000, part):
        wait_for(lambda: len(left_behind(console)) > before, 30, "the upload to begin")
    wait_for(lambda: len(left_behind(console)) == before, 30, "what arrived to be deleted")
    wait_for(lambda: all(row.state != "uploading" for row in rows(console, checks)), 30, "the row to go")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    extra = {"spool": {"min_free_bytes": 10**15}}
    with running_console(console_settings(tmp_path, extra=extra)) as console:
        answer = upload(console.signed_in(Role.VIEWER), [("a.png", picture())])
        assert answer.status_code == 507
        assert "nearly full" in answer.text
        assert not left_behind(console)
        assert not rows(console, checks)


def test_the_api_says_the_same_as_a_problem(console: ConsoleServer) -> None:
    answer = upload(console.with_token(Role.VIEWER), [("a.svg", SVG)], path="/api/images")
    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert "an SVG drawing" in problem["fields"]["a.svg"]
    assert "a.svg" in problem["detail"]


def test_whoever_may_not_check_can_not_upload(console: ConsoleServer) -> None:
    assert upload(console.signed_in(Role.AUDITOR), [("a.png", picture())]).status_code == 403
    assert upload(console.with_token(Role.AUDITOR), [("a.png", picture())], path="/api/images").status_code == 403
    assert upload(console.anonymous(), [("a.png", picture())], path="/api/images").status_code == 401


def test_an_object_without_preamble_is_taken_and_becomes_a_whole_one(console: ConsoleServer, tmp_path: Path) -> None:
    dataset = dcmread(io.BytesIO(ct(tmp_path)))
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, dataset)
    content = buffer.getvalue()
    answer = upload(console.signed_in(Role.VIEWER), [("bare", content)])
    assert answer.status_code == 303, answer.text
    row = rows(console, check_files)[-1]
    assert dcmread(console.settings.spool_dir / row.path).SOPInstanceUID == dataset.SOPInstanceUID
