"""Delivery to DCMTK's storescp and to Orthanc, and by TLS; a destination that goes and comes back."""

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pynetdicom.sop_class import Comprehensive3DSRStorage, ComprehensiveSRStorage

from medfake_pacs.config import RetrySettings, TlsSettings
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.tables import reports
from medfake_pacs.delivery import OutgoingReport, client_context, due, echo, enqueue, listing, record, send_batch
from medfake_pacs.entities import Report
from medfake_pacs.errors import DeliveryError
from tests.delivery_peers import destination, outgoing, report_dataset, scripted_peer
from tests.orthanc import OrthancPeer, running_orthanc
from tests.support import free_port, need_tool, wait_for

_RETRY = RetrySettings(first_delay_s=10, max_delay_s=100, give_up_after_s=100_000)


@contextmanager
def _storescp(folder: Path) -> Iterator[int]:
    program = need_tool("/usr/bin/storescp")
    folder.mkdir()
    port = free_port()
    command = [program, "--output-directory", str(folder), "--aetitle", "ARCHIVE", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"})
    try:
        wait_for(lambda: _echoes(port), 10, "storescp to listen")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _echoes(port: int) -> bool:
    try:
        echo(destination(port), "MEDFAKE")
    except DeliveryError:
        return False
    return True


def test_dcmtk_stores_what_was_sent(tmp_path: Path) -> None:
    items = [outgoing(tmp_path, number) for number in (1, 2, 3)]
    with _storescp(tmp_path / "received") as port:
        sent = send_batch(destination(port), "MEDFAKE", items)
    assert [(each.status, each.sop_class_uid) for each in sent] == [(0, Comprehensive3DSRStorage)] * 3
    received = [dcmread(path) for path in (tmp_path / "received").iterdir()]
    assert {each.SOPInstanceUID for each in received} == {item.report_uid for item in items}
    assert {str(each.PatientName) for each in received} == {"Secret^Name"}


def test_orthanc_holds_the_report_in_its_study(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "orthanc", ae_title="ARCHIVE") as peer:
        item = outgoing(tmp_path, study="1.2.826.77")
        for _ in range(2):
            [sent] = send_batch(destination(peer.dicom_port), "MEDFAKE", [item])
            assert (sent.succeeded, sent.comment) == (True, "")
        [report] = peer.reports_of("1.2.826.77")
        assert report
        assert peer.sop_instance_uids() == [item.report_uid]
        wrong = destination(peer.dicom_port, ae_title="NOBODY")
        [refused] = send_batch(wrong, "MEDFAKE", [item])
        assert refused.comment == "NOBODY rejected the association: called AE title not recognised"


class _Node:
    """The worker's delivery step, with a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = open_engine(f"sqlite:///{folder / 'medfake.db'}")
        upgrade(self.engine)
        self.now = 1000.0

    def report(self, number: int) -> str:
        item = outgoing(self.folder, number, study="1.2.826.78")
        report = Report(
            sop_instance_uid=item.report_uid,
            sop_class_uid=Comprehensive3DSRStorage,
            study_instance_uid="1.2.826.78",
            revision=number,
            path=item.path,
            sha256="ab" * 32,
        )
        row = {name: getattr(report, name) for name in report.__slots__} | {"path": str(item.path), "created_at": 1.0}
        with transaction(self.engine) as connection:
            connection.execute(sa.insert(reports).values(row))
            enqueue(connection, report, ["pacs"], self.now)
        return item.report_uid

    def step(self, peer: OrthancPeer) -> int:
        with reading(self.engine) as connection:
            items = due(connection, "pacs", self.now, 100, _RETRY)
        outgoing_reports = [
            OutgoingReport(
                delivery_id=item.delivery_id,
                report_uid=item.report_uid,
                path=item.path,
                comprehensive=lambda: report_dataset("1.2.3.33", sop_class=ComprehensiveSRStorage),
                attempt=item.attempt,
            )
            for item in items
        ]
        outcomes = send_batch(destination(peer.dicom_port), "MEDFAKE", outgoing_reports)
        with transaction(self.engine) as connection:
            for outcome in outcomes:
                record(connection, outcome, _RETRY, self.now)
        return len(items)


def test_a_destination_that_was_down_gets_everything_once(tmp_path: Path) -> None:
    node = _Node(tmp_path)
    with running_orthanc(tmp_path / "orthanc", ae_title="ARCHIVE") as peer:
        uids = [node.report(1)]
        node.step(peer)
        peer.stop()
        uids += [node.report(number) for number in (2, 3, 4, 5)]
        for _ in range(30):
            node.step(peer)
            node.now += 20.0
        uids.append(node.report(6))
        peer.start()
        for _ in range(15):
            node.step(peer)
            node.now += 10.0
        assert peer.sop_instance_uids() == sorted(uids)
        assert len(peer.instances()) == 6
    with reading(node.engine) as connection:
        delivered = list(listing(connection, with_attempts=True))
    node.engine.dispose()
    assert [each.state for each in delivered] == ["sent"] * 6
    assert len(delivered[0].history) == 1
    for each in delivered[1:]:
        assert [attempt.number for attempt in each.history] == list(range(1, each.attempts + 1))
        assert [attempt.succeeded for attempt in each.history] == [False] * (each.attempts - 1) + [True]
    down = [attempt for each in delivered[1:5] for attempt in each.history if not attempt.succeeded]
    assert {attempt.comment for attempt in down} == {f"connection refused by 127.0.0.1:{peer.dicom_port}"}
    assert 12 <= len(down) < 40


@dataclass(frozen=True)
class _Authority:
    folder: Path

    def run(self, *arguments: str) -> None:
        subprocess.run([need_tool("/usr/bin/openssl"), *arguments], check=True, capture_output=True, cwd=self.folder)

    def create(self, name: str) -> None:
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt",
                 "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip

    def issue(self, name: str, authority: str, alternative: str, password: str = "") -> None:
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}", "-keyout",
                 f"{name}.key", "-out", f"{name}.csr", "-addext", f"subjectAltName={alternative}",
                 *(["-passout", f"pass:{password}"] if password else ["-nodes"]))  # fmt: skip
        self.run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key",
                 "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", f"{name}.crt")  # fmt: skip

    def node(self, ca: str = "ca", **options: Path) -> TlsSettings:
        paths = {"certificate": self.folder / "node.crt", "key": self.folder / "node.key"}
        return TlsSettings(**paths | options, ca=self.folder / f"{ca}.crt")

    def server(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        context.load_verify_locations(self.folder / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> _Authority:
    made = _Authority(tmp_path_factory.mktemp("tls"))
    made.create("ca")
    made.create("other")
    made.issue("archive", "ca", "IP:127.0.0.1")
    made.issue("elsewhere", "ca", "DNS:elsewhere.example")
    made.issue("node", "ca", "DNS:node.example")
    made.issue("locked", "ca", "DNS:node.example", password="secret")
    return made


def _send_by_tls(tmp_path: Path, tls: TlsSettings, server: ssl.SSLContext | None) -> str:
    with scripted_peer(tls=server) as peer:
        settings = destination(peer.port, tls=True, timeout_s=2)
        [sent] = send_batch(settings, "MEDFAKE", [outgoing(tmp_path)], client_context(tls))
    assert sent.succeeded is bool(peer.received)
    return sent.comment.replace(str(peer.port), "PORT")


def test_tls_with_certificates_on_both_sides(tmp_path: Path, authority: _Authority) -> None:
    assert _send_by_tls(tmp_path, authority.node(), authority.server("archive")) == ""


def test_a_certificate_of_another_authority_is_named(tmp_path: Path, authority: _Authority) -> None:
    reason = _send_by_tls(tmp_path, authority.node("other"), authority.server("archive"))
    assert reason.startswith("the certificate of 127.0.0.1:PORT isn't trusted: ")


def test_a_certificate_of_another_host_is_named(tmp_path: Path, authority: _Authority) -> None:
    reason = _send_by_tls(tmp_path, authority.node(), authority.server("elsewhere"))
    assert "isn't trusted" in reason
    assert "IP address mismatch" in reason


def test_plain_tcp_to_a_tls_peer_is_named(tmp_path: Path, authority: _Authority) -> None:
    with scripted_peer(tls=authority.server("archive")) as peer:
        [sent] = send_batch(destination(peer.port, timeout_s=2), "MEDFAKE", [outgoing(tmp_path)])
    assert "ARCHIVE" in sent.comment
    assert not sent.succeeded


def test_tls_without_a_certificate_of_ours_is_named(tmp_path: Path) -> None:
    [sent] = send_batch(destination(free_port(), tls=True), "MEDFAKE", [outgoing(tmp_path)])
    assert sent.comment == "pacs wants TLS, and the node has no certificate"
    assert client_context(None) is None


def test_the_password_of_a_key_comes_from_its_file(tmp_path: Path, authority: _Authority) -> None:
    password = tmp_path / "password"
    locked = {"certificate": authority.folder / "locked.crt", "key": authority.folder / "locked.key"}
    password.write_text("secret\n")
    assert _send_by_tls(
        tmp_path, authority.node(**locked, key_password_file=password), authority.server("archive")
    ) == ""  # fmt: skip
    password.write_text("wrong\n")
    for options in ({"key_password_file": password}, {}, {"certificate": tmp_path / "absent"}):
        with pytest.raises(DeliveryError, match="the \\[tls\\] files can't be used"):
            client_context(authority.node(**locked | options))
