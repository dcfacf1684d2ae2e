"""Storage SCU against peers that accept, refuse, warn, abort, stay silent or aren't there."""

import hashlib
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Comprehensive3DSRStorage, ComprehensiveSRStorage, Verification

from medfake_pacs.delivery import echo, send_batch
from medfake_pacs.errors import DeliveryError, ReportError
from tests.delivery_peers import destination, outgoing, scripted_peer
from tests.support import free_port


def test_a_batch_goes_by_one_association(tmp_path: Path) -> None:
    items = [outgoing(tmp_path, number) for number in range(1, 6)]
    with scripted_peer() as peer:
        sent = send_batch(destination(peer.port), "MEDFAKE", items)
    assert [(each.delivery_id, each.status, each.succeeded, each.comment) for each in sent] == [
        (number, 0x0000, True, "") for number in range(1, 6)
    ]
    assert [each.SOPInstanceUID for each in peer.received] == [item.report_uid for item in items]
    assert {each.SOPClassUID for each in peer.received} == {Comprehensive3DSRStorage}
    assert peer.associations == 1
    assert [each.attempt for each in sent] == [1] * 5


def test_nothing_to_send_needs_no_association() -> None:
    assert send_batch(destination(free_port()), "MEDFAKE", []) == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_either_transfer_syntax_will_do(tmp_path: Path, syntax: str) -> None:
    with scripted_peer(syntaxes=[syntax]) as peer:
        [sent] = send_batch(destination(peer.port), "MEDFAKE", [outgoing(tmp_path)])
    assert sent.succeeded
    [received] = peer.received
    assert received.file_meta.TransferSyntaxUID == syntax
    assert received.PatientName == "Secret^Name"


def test_a_peer_without_comprehensive_3d_sr_gets_comprehensive_sr(tmp_path: Path) -> None:
    item = outgoing(tmp_path)
    with scripted_peer(classes=[ComprehensiveSRStorage]) as peer:
        [sent] = send_batch(destination(peer.port), "MEDFAKE", [item])
    assert (sent.succeeded, sent.sop_class_uid) == (True, ComprehensiveSRStorage)
    assert sent.report_uid == item.report_uid
    assert [each.SOPInstanceUID for each in peer.received] == [f"{item.report_uid}.33"]
    assert sent.sent_sop_instance_uid == f"{item.report_uid}.33"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_outcome_says_what_was_on_the_wire(tmp_path: Path, syntax: str) -> None:
    with scripted_peer(0x0000, 0xA700, "abort", syntaxes=[syntax]) as peer:
        items = [outgoing(tmp_path, number) for number in range(1, 5)]
        *answered, aborted, unsent = send_batch(destination(peer.port), "MEDFAKE", items)
    assert [each.sent_sha256 for each in answered] == peer.digests
    assert [each.sent_sop_instance_uid for each in (*answered, aborted)] == [item.report_uid for item in items[:3]]
    assert (unsent.sent_sop_instance_uid, unsent.sent_sha256) == ("", "")


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_counts_as_sent_and_is_kept(tmp_path: Path, status: int) -> None:
    with scripted_peer(status, comment="Coerced  the\nname") as peer:
        [sent] = send_batch(destination(peer.port), "MEDFAKE", [outgoing(tmp_path)])
    assert (sent.succeeded, sent.status) == (True, status)
    assert f"0x{status:04X} Warning" in sent.comment
    assert sent.comment.endswith("Coerced the name")


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0xC123, 0x0110, 0x0111, 0x0122, 0x0124, 0xFF00, 0xB001])
def test_any_other_status_is_a_failure_of_that_object_alone(tmp_path: Path, status: int) -> None:
    items = [outgoing(tmp_path, number) for number in (1, 2, 3)]
    with scripted_peer(0x0000, status) as peer:
        sent = send_batch(destination(peer.port), "MEDFAKE", items)
    assert [each.succeeded for each in sent] == [True, False, True]
    assert sent[1].status == status
    assert sent[1].comment.startswith(f"0x{status:04X}")


def test_an_abort_fails_what_was_not_answered(tmp_path: Path) -> None:
    items = [outgoing(tmp_path, number) for number in (1, 2, 3, 4)]
    with scripted_peer(0x0000, "abort") as peer:
        sent = send_batch(destination(peer.port), "MEDFAKE", items)
    assert [(each.succeeded, each.status) for each in sent] == [(True, 0), (False, None), (False, None), (False, None)]
    assert "didn't answer: association aborted" in sent[1].comment
    assert [each.comment for each in sent[2:]] == ["association aborted before this report's turn"] * 2


def test_silence_is_a_failure(tmp_path: Path) -> None:
    with scripted_peer("silence") as peer:
        [sent] = send_batch(destination(peer.port, timeout_s=1), "MEDFAKE", [outgoing(tmp_path)])
        peer.ended.set()
    assert (sent.succeeded, sent.status) == (False, None)
    assert "ARCHIVE didn't answer" in sent.comment


def _reason(port: int, tmp_path: Path, **options: object) -> str:
    items = [outgoing(tmp_path, number) for number in (1, 2)]
    sent = send_batch(destination(port, **options), "MEDFAKE", items)
    assert [(each.succeeded, each.status) for each in sent] == [(False, None)] * 2
    [reason] = {each.comment for each in sent}
    return reason


@contextmanager
def _held_association(port: int) -> Iterator[None]:
    held = AE().associate("127.0.0.1", port, contexts=[build_context(Verification)])
    assert held.is_established
    yield
    held.release()


def test_rejections_are_named(tmp_path: Path) -> None:
    with scripted_peer(require_called_aet=True) as peer:
        reason = _reason(peer.port, tmp_path, ae_title="OTHER")
    assert reason == "OTHER rejected the association: called AE title not recognised"
    with scripted_peer(require_calling_aet=["SOMEONE"]) as peer:
        assert _reason(peer.port, tmp_path) == "ARCHIVE rejected the association: calling AE title not recognised"
    with scripted_peer(maximum_associations=1) as peer, _held_association(peer.port):
        assert _reason(peer.port, tmp_path) == "ARCHIVE rejected the association: local limit exceeded"


def test_a_peer_that_takes_no_reports_is_named(tmp_path: Path) -> None:
    with scripted_peer(classes=[CTImageStorage]) as peer:
        reason = _reason(peer.port, tmp_path)
    assert reason == "ARCHIVE accepts none of: Comprehensive 3D SR Storage, Comprehensive SR Storage"


def test_no_listener_is_named(tmp_path: Path) -> None:
    port = free_port()
    assert _reason(port, tmp_path) == f"connection refused by 127.0.0.1:{port}"


def test_an_unknown_host_is_named(tmp_path: Path) -> None:
    reason = _reason(free_port(), tmp_path, host="no-such-host.invalid")
    assert reason == "the host name no-such-host.invalid is unknown"


def test_a_connection_that_takes_too_long_is_named(tmp_path: Path) -> None:
    """A listener with a full backlog drops what would connect, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        reason = _reason(port, tmp_path, timeout_s=0.5)
        for filler in fillers:
            filler.close()
    assert reason == f"no connection to 127.0.0.1:{port} within 0.5 s"


@contextmanager
def _listener(*, close_at_once: bool) -> Iterator[int]:
    """A peer that takes connections and never speaks DICOM."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if close_at_once:
                    connection.close()
                else:
                    taken.append(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def test_a_peer_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with _listener(close_at_once=False) as port:
        reason = _reason(port, tmp_path, timeout_s=0.5)
    assert reason == "ARCHIVE didn't answer the association request within 0.5 s"


def test_a_peer_that_hangs_up_is_named(tmp_path: Path) -> None:
    with _listener(close_at_once=True) as port:
        reason = _reason(port, tmp_path)
    assert reason == "ARCHIVE closed the connection instead of answering the association request (does it expect TLS?)"


def test_one_unreadable_report_does_not_hold_the_others(tmp_path: Path) -> None:
    items = [outgoing(tmp_path, number) for number in (1, 2, 3)]
    items[0].path.unlink()
    items[1].path.write_bytes(b"not DICOM")
    with scripted_peer() as peer:
        sent = send_batch(destination(peer.port), "MEDFAKE", items)
    assert [each.succeeded for each in sent] == [False, False, True]
    assert all("the report can't be read" in each.comment for each in sent[:2])


def test_a_report_that_was_changed_on_disk_is_not_sent(tmp_path: Path) -> None:
    item = outgoing(tmp_path)
    digest = hashlib.sha256(item.path.read_bytes()).hexdigest()
    with scripted_peer() as peer:
        [sent] = send_batch(destination(peer.port), "MEDFAKE", [replace(item, sha256=digest)])
        item.path.write_bytes(item.path.read_bytes().replace(b"SECRET-ID", b"SECRET-IX"))
        [refused] = send_batch(destination(peer.port), "MEDFAKE", [replace(item, sha256=digest)])
    assert sent.succeeded
    assert (refused.succeeded, refused.comment) == (
        False, "the report can't be read: the file isn't the one that was written",
    )  # fmt: skip
    assert len(peer.received) == 1


def test_a_report_that_cannot_be_retyped_fails_with_the_reason(tmp_path: Path) -> None:
    def fail() -> None:
        raise ReportError("it holds 3D coordinates")

    item = replace(outgoing(tmp_path), comprehensive=fail)
    with scripted_peer(classes=[ComprehensiveSRStorage]) as peer:
        [sent] = send_batch(destination(peer.port), "MEDFAKE", [item])
    assert not sent.succeeded
    assert "it holds 3D coordinates" in sent.comment


def test_logs_name_no_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "medfake_pacs")
    with scripted_peer(0x0000, 0xA700, "abort") as peer:
        send_batch(destination(peer.port), "MEDFAKE", [outgoing(tmp_path, number) for number in (1, 2, 3)])
    assert "0xA700" in caplog.text
    assert "Secret" not in caplog.text
    assert "SECRET" not in caplog.text


def test_echo_is_answered() -> None:
    with scripted_peer(classes=[Verification]) as peer:
        echo(destination(peer.port), "MEDFAKE")


def test_echo_names_why_not() -> None:
    port = free_port()
    with pytest.raises(DeliveryError, match=f"connection refused by 127.0.0.1:{port}"):
        echo(destination(port), "MEDFAKE")
    with scripted_peer(classes=[ComprehensiveSRStorage]) as peer, pytest.raises(DeliveryError, match="accepts none of"):
        echo(destination(peer.port), "MEDFAKE")
