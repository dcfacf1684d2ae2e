"""The spool by itself: what is kept, refused, swept and adopted."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from medfake_pacs.entities import Peer, ReceivedInstance
from medfake_pacs.errors import CannotUnderstandError, OutOfResourcesError, SopClassMismatchError
from medfake_pacs.spool import Spool, placing
from medfake_pacs.spool.incoming import IncomingObject
from tests.receiver_support import content_sha256, ct_image, data_set_bytes, save

PEER = Peer(association_id="a1", calling_ae_title="CT1", called_ae_title="NODE", host="10.0.0.5", tls_subject="CN=ä")
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 0)
    yield opened
    opened.close()


def _receive(
    spool: Spool, content: bytes, uid: str, syntax: str = EXPLICIT, **change: str
) -> tuple[ReceivedInstance, IncomingObject]:
    names = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "sop_instance_uid": uid} | change
    incoming = spool.open(transfer_syntax_uid=syntax, peer=PEER, received_at=12.5, **names)
    for start in range(0, len(content), 1000):
        incoming.write(content[start : start + 1000])
    received = ReceivedInstance(transfer_syntax_uid=syntax, path=incoming.path, peer=PEER, received_at=12.5, **names)
    return received, incoming


def _content(tmp_path: Path) -> tuple[bytes, str]:
    image = ct_image()
    return data_set_bytes(save(image, tmp_path / "image.dcm")), str(image.SOPInstanceUID)


def _digest(content: bytes) -> str:
    return hashlib.sha256(EXPLICIT.encode() + b"\x00" + content).hexdigest()


def test_an_object_is_named_by_its_content(spool: Spool, tmp_path: Path) -> None:
    content, uid = _content(tmp_path)
    received, incoming = _receive(spool, content, uid)

    kept = spool.keep(received, incoming)

    digest = _digest(content)
    assert (kept.content_sha256, kept.size_bytes) == (digest, len(content))
    assert kept.path == tmp_path / "spool" / "objects" / digest[:2] / f"{digest}.dcm"
    assert data_set_bytes(kept.path) == content
    assert not received.path.exists()
    assert uid not in str(kept.path)
    meta = pydicom.dcmread(kept.path).file_meta
    assert meta.MediaStorageSOPInstanceUID == uid
    assert (meta.SendingApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == ("CT1", "NODE")


def test_the_digest_is_the_same_when_the_file_is_read_again(spool: Spool, tmp_path: Path) -> None:
    content, uid = _content(tmp_path)
    received, _ = _receive(spool, content, uid)
    assert spool.keep(received).content_sha256 == _digest(content)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"sop_instance_uid": "1.2.9"}, SopClassMismatchError),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}, SopClassMismatchError),
    ],
)
def test_what_was_not_announced_is_refused_and_gone(
    spool: Spool, tmp_path: Path, change: dict[str, str], error: type[Exception]
) -> None:
    content, uid = _content(tmp_path)
    received, incoming = _receive(spool, content, uid, **change)
    with pytest.raises(error):
        spool.keep(received, incoming)
    assert not received.path.exists()
    assert list(spool.adopt()) == []


def test_what_is_no_data_set_is_refused_and_gone(spool: Spool) -> None:
    received, incoming = _receive(spool, b"\xff" * 5000, "1.2.3")
    with pytest.raises(CannotUnderstandError):
        spool.keep(received, incoming)
    assert not received.path.exists()


def test_no_room_is_out_of_resources(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)
    spool = Spool(tmp_path / "spool", state.f_blocks * state.f_frsize * 2)
    assert not spool.has_room()
    with pytest.raises(OutOfResourcesError):
        _receive(spool, b"", "1.2.3")
    assert list(spool.incoming.glob("object-*")) == []
    spool.close()


def test_a_vanished_folder_is_out_of_resources_and_not_a_crash(spool: Spool, tmp_path: Path) -> None:
    content, uid = _content(tmp_path)
    received, incoming = _receive(spool, content, uid)
    digest = _digest(content)
    (tmp_path / "spool" / "objects" / digest[:2]).rmdir()
    with pytest.raises(OutOfResourcesError):
        spool.keep(received, incoming)
    assert not received.path.exists()


def test_objects_that_nobody_knows_are_adopted_with_their_sender(spool: Spool, tmp_path: Path) -> None:
    kept = []
    for _ in range(3):
        received, incoming = _receive(spool, *_content(tmp_path))
        kept.append(spool.keep(received, incoming))

    adopted = list(spool.adopt({kept[0].content_sha256}.intersection))

    assert sorted(adopted, key=lambda item: item.content_sha256) == sorted(
        kept[1:], key=lambda item: item.content_sha256
    )
    assert adopted[0].peer == PEER
    assert adopted[0].received_at == 12.5


def test_an_object_whose_file_names_no_sender_is_adopted_all_the_same(spool: Spool, tmp_path: Path) -> None:
    path = save(ct_image(), tmp_path / "foreign.dcm")
    digest = content_sha256(path)
    target = tmp_path / "spool" / "objects" / digest[:2] / f"{digest}.dcm"
    path.rename(target)
    (adopted,) = spool.adopt()
    assert (adopted.peer.calling_ae_title, adopted.peer.host) == ("", "")
    assert adopted.received_at == pytest.approx(target.stat().st_mtime)


def test_damaged_objects_are_set_aside(spool: Spool, tmp_path: Path) -> None:
    received, incoming = _receive(spool, *_content(tmp_path))
    kept = spool.keep(received, incoming)
    with kept.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert list(spool.adopt()) == []
    assert not kept.path.exists()
    assert kept.path.with_suffix(".damaged").exists()


def test_the_same_content_twice_is_one_file(spool: Spool, tmp_path: Path) -> None:
    content, uid = _content(tmp_path)
    first, second = (spool.keep(*_receive(spool, content, uid)) for _ in range(2))
    assert first.path == second.path
    assert len(list(spool.adopt())) == 1


def test_the_same_bytes_in_another_transfer_syntax_are_other_content(spool: Spool, tmp_path: Path) -> None:
    content, uid = _content(tmp_path)
    wrong, right = (spool.keep(*_receive(spool, content, uid, syntax)) for syntax in (JPEG_2000, EXPLICIT))
    assert wrong.content_sha256 != right.content_sha256
    assert pydicom.dcmread(right.path).file_meta.TransferSyntaxUID == EXPLICIT
    assert {kept.transfer_syntax_uid for kept in spool.adopt()} == {JPEG_2000, EXPLICIT}


def _failing_fsync(monkeypatch: pytest.MonkeyPatch, is_hit: Callable[[int], bool]) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if is_hit(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("is_hit", [stat.S_ISREG, stat.S_ISDIR], ids=["file", "folder"])
def test_what_could_not_be_synced_has_no_name(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_hit: Callable[[int], bool]
) -> None:
    content, uid = _content(tmp_path)
    received, incoming = _receive(spool, content, uid)
    with monkeypatch.context() as patch:
        _failing_fsync(patch, is_hit)
        with pytest.raises(OutOfResourcesError):
            spool.keep(received, incoming)
    assert list((tmp_path / "spool" / "objects").glob("*/*")) == []
    assert data_set_bytes(spool.keep(*_receive(spool, content, uid)).path) == content


def test_bytes_that_a_crash_left_under_the_name_are_replaced(spool: Spool, tmp_path: Path) -> None:
    content, uid = _content(tmp_path)
    kept = spool.keep(*_receive(spool, content, uid))
    with kept.path.open("r+b") as file:
        file.truncate(1000)
    assert data_set_bytes(spool.keep(*_receive(spool, content, uid)).path) == content


def test_an_object_that_can_not_be_read_now_is_not_set_aside(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = spool.keep(*_receive(spool, *_content(tmp_path)))
    with monkeypatch.context() as patch:
        # It isn't adopted either before it is on the disk.
        _failing_fsync(patch, stat.S_ISREG)
        assert list(spool.adopt()) == []
    assert [adopted.path for adopted in spool.adopt()] == [kept.path]


def test_only_the_file_that_was_looked_at_is_set_aside(tmp_path: Path) -> None:
    path, aside = tmp_path / "object.dcm", tmp_path / "object.damaged"
    path.write_bytes(b"torn")
    torn = path.stat()
    (tmp_path / "sound").write_bytes(b"sound")
    os.replace(tmp_path / "sound", path)
    placing.remove_if_same(path, torn, root=tmp_path, keep_as=aside)
    assert path.read_bytes() == b"sound"
    placing.remove_if_same(path, path.stat(), root=tmp_path, keep_as=aside)
    assert aside.read_bytes() == b"sound"
    placing.remove_if_same(path, torn, root=tmp_path)


def test_a_sweep_takes_the_dead_and_leaves_the_living(tmp_path: Path) -> None:
    living, other = Spool(tmp_path, 0, "living"), Spool(tmp_path, 0, "other")
    _, incoming = _receive(living, b"half", "1.2.3")
    dead = tmp_path / "incoming" / "dead-1-x"
    dead.mkdir()
    (dead / "object-1.dcm").write_bytes(b"half")
    assert other.sweep() == 1
    assert not dead.exists()
    assert incoming.path.exists()
    incoming.discard()
    living.close()
    assert other.sweep() == 0
    other.close()
    assert list((tmp_path / "incoming").glob("*/")) == []
