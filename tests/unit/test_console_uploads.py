"""The pieces of an upload's intake: names, the form of pictures, the form of requests."""

import io
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medfake_pacs.console.uploads.multipart import FormReceiver
from medfake_pacs.console.uploads.names import shown_name
from medfake_pacs.console.uploads.rasters import check_jpeg, check_png
from medfake_pacs.console.uploads.refusals import FileRefusedError, LeftOut, UploadRefusedError, refused
from medfake_pacs.console.uploads.storing import Folder, UploadLimits

LIMITS = UploadLimits(
    max_bytes=100_000,
    max_files=3,
    max_pixels=10_000,
    reserve_bytes=0,
    max_checks_bytes=10**9,
    max_account_checks_bytes=10**9,
)


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("C:\\patients\\anna.dcm", "anna.dcm"),
        ("../../etc/passwd", "passwd"),
        ("a\x00b\r\nc.dcm", "abc.dcm"),
        ("invoice\u202egnp.exe", "invoicegnp.exe"),
        ("", "(no name)"),
        ("\x07", "(no name)"),
        ("x" * 500, "x" * 59 + "…" + "x" * 60),
    ],
)
def test_names_can_be_shown(given_name: str, shown: str) -> None:
    assert shown_name(given_name) == shown


@given(st.text(max_size=400))
def test_no_name_is_long_or_has_controls(name: str) -> None:
    for shown in (shown_name(name), shown_name(name, whole_path=True)):
        assert 0 < len(shown) <= 120
        assert shown.encode("utf-8")
        assert "\x00" not in shown


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (1500, 1100)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_any_length_is_followed_to_its_end(tmp_path: Path, size: tuple[int, int], progressive: bool) -> None:
    noise = Image.effect_noise(size, 90)
    path = tmp_path / "image.jpg"
    noise.save(path, "JPEG", quality=95, progressive=progressive)
    assert check_jpeg(path) == size
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert check_jpeg(path) == size
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(FileRefusedError, match="behind its picture"):
        check_jpeg(path)


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_signature_are_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    for check, signature in ((check_png, b"\x89PNG\r\n\x1a\n"), (check_jpeg, b"\xff\xd8\xff")):
        path.write_bytes(signature + tail)
        try:
            check(path)
        except FileRefusedError:
            continue
        assert b"IEND" in tail or b"\xd9" in tail


def test_an_animated_png_is_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(tmp_path / "image.png", save_all=True, append_images=frames[1:])
    with pytest.raises(FileRefusedError, match="animated"):
        check_png(tmp_path / "image.png")


def _form(parts: list[tuple[str, bytes]]) -> bytes:
    body = io.BytesIO()
    for disposition, content in parts:
        body.write(b"--x\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n")
    body.write(b"--x--\r\n")
    return body.getvalue()


def _folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "check", LIMITS)
    folder.make()
    return folder


@pytest.mark.parametrize("piece_bytes", [1, 7, 100_000])
def test_a_form_is_read_in_pieces_of_any_size(tmp_path: Path, piece_bytes: int) -> None:
    body = _form(
        [
            ('name="files"; filename="a.dcm"', b"first\r\n--y"),
            ('name="model"', b"lung-ct"),
            ('name="files"; filename=""', b""),
            ('name="other"; filename="b"', b"ignored"),
            ('name="file"; filename="c.png"', b""),
        ]
    )
    receiver = FormReceiver("multipart/form-data; boundary=x", _folder(tmp_path))
    for start in range(0, len(body), piece_bytes):
        receiver.feed(body[start : start + piece_bytes])
    receiver.finish()
    assert receiver.fields == {"model": "lung-ct"}
    assert [(file.name, file.path.read_bytes()) for file in receiver.files] == [
        ("a.dcm", b"first\r\n--y"),
        ("c.png", b""),
    ]
    assert sorted(path.name for path in (tmp_path / "check").iterdir()) == ["00001", "00002"]


def test_limits_are_those_of_all_files_together(tmp_path: Path) -> None:
    receiver = FormReceiver("multipart/form-data; boundary=x", _folder(tmp_path))
    files = [('name="files"; filename="a"', b"x" * 60_000)] * 2
    with pytest.raises(UploadRefusedError, match="100,000 bytes"):
        receiver.feed(_form(files))
    receiver.close()
    folder = Folder(tmp_path / "other", LIMITS)
    folder.make()
    receiver = FormReceiver("multipart/form-data; boundary=x", folder)
    with pytest.raises(UploadRefusedError, match="3 files at most"):
        receiver.feed(_form([('name="files"; filename="a"', b"x")] * 5))
    receiver.close()


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data", "multipart/mixed; boundary=x"])
def test_what_is_no_form_is_refused(tmp_path: Path, content_type: str) -> None:
    with pytest.raises(UploadRefusedError) as caught:
        FormReceiver(content_type, _folder(tmp_path))
    assert caught.value.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def test_the_gravest_reason_gives_the_status() -> None:
    files = [
        LeftOut(name="a", reason="empty", status=HTTPStatus.UNPROCESSABLE_ENTITY),
        LeftOut(name="b", reason="a PDF document"),
        LeftOut(name="c", reason="too large", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ]
    error = refused(files)
    assert error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert error.fields == {"a": "empty", "b": "a PDF document", "c": "too large"}
