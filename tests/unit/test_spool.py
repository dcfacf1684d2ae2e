"""The spool by itself: what is kept, refused, swept and adopted."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from medfake_pacs.entities import Peer, ReceivedInstance
from medfake_pacs.errors import CannotUnderstandError, OutOfResourcesError, SopClassMismatchError
from medfake_pacs.spool import Spool
from medfake_pacs.spool.incoming import IncomingObject
from tests.receiver_support import ct_image, data_set_bytes, save

PEER = Peer(association_id="a1", calling_ae_title="CT1", called_ae_title="NODE", host="10.0.0.5", tls_subject="CN=ä")
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 0)
    yield opened
    opened.close()


def _receive(spool: Spool, content: bytes, uid: str, **change: str) -> tuple[ReceivedInstance, IncomingObject]:
    names = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "sop_instance_uid": uid} | change
    incoming = spool.open(transfer_syntax_uid=EXPLICIT, peer=PEER, received_at=12.5, **names)
    for start in range(0, len(content), 1000):
        incoming.write(content[start : start + 1000])
    received = ReceivedInstance(transfer_syntax_uid=EXPLICIT, path=incoming.path, peer=PEER, received_at=12.5, **names)
    return received, incoming


def _content(tmp_path: Path) -> tuple[bytes, str]:
    image = ct_image()
    return data_set_bytes(save(image, tmp_path / "image.dcm")), str(image.SOPInstanceUID)


def test_an_object_is_named_by_its_content(spool: Spool, tmp_path: Path) -> None:
    content, uid = _content(tmp_path)
    received, incoming = _receive(spool, content, uid)

    kept = spool.keep(received, incoming)

    digest = hashlib.sha256(content).hexdigest()
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
    assert spool.keep(received).content_sha256 == hashlib.sha256(content).hexdigest()


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
    digest = hashlib.sha256(content).hexdigest()
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
    digest = hashlib.sha256(data_set_bytes(path)).hexdigest()
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
