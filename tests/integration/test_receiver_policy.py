"""Who is let in: rejections as DCMTK and pynetdicom see them, and the row that each leaves in the log."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.receiver_support import (
    CALLED,
    CALLING,
    DCMTK_ENVIRONMENT,
    Receiver,
    associate_request,
    association,
    audit_rows,
    connect,
    ct_image,
    read_pdu,
    rejection,
    running_receiver,
    write_config,
)
from tests.support import need_tool, wait_for

ECHOSCU = "/usr/bin/echoscu"
CALLED_UNKNOWN = (1, 1, 7)
CALLING_UNKNOWN = (1, 1, 3)
LIMIT_EXCEEDED = (2, 3, 2)
PEERS = """
[[peers]]
ae_title = "ELSEWHERE"
hosts = ["192.0.2.0/24", "no-such-host.invalid"]
[[peers]]
ae_title = "BYNAME"
hosts = ["localhost"]
[[peers]]
ae_title = "BYNETWORK"
hosts = ["127.0.0.0/8"]
[[peers]]
ae_title = "WITHTLS"
hosts = ["127.0.0.1"]
tls_subject = "modality.example"
"""


@pytest.fixture
def receiver(tmp_path: Path, database_url: str) -> Iterator[Receiver]:
    """A receiver with several peers on each database."""
    with running_receiver(write_config(tmp_path, database_url, peers=PEERS)) as running:
        yield running


def _rejected(receiver: Receiver, count: int) -> list[dict[str, object]]:
    wait_for(lambda: len(audit_rows(receiver.settings, "association-rejected")) >= count, 10, f"{count} rows")
    events = audit_rows(receiver.settings, "association-rejected")
    assert len(events) == count
    return [event["payload"] for event in events]


def test_each_rejection_has_its_code_and_one_row(receiver: Receiver) -> None:
    assert rejection(receiver.port, called="OTHER") == CALLED_UNKNOWN
    assert rejection(receiver.port, calling="STRANGER") == CALLING_UNKNOWN
    assert rejection(receiver.port, calling="ELSEWHERE") == CALLING_UNKNOWN
    assert rejection(receiver.port, calling="WITHTLS") == CALLING_UNKNOWN

    payloads = _rejected(receiver, 4)

    assert [tuple(payload["rejection"]) for payload in payloads] == [CALLED_UNKNOWN, *[CALLING_UNKNOWN] * 3]
    assert [payload["calling_ae_title"] for payload in payloads] == [CALLING, "STRANGER", "ELSEWHERE", "WITHTLS"]
    assert {payload["host"] for payload in payloads} == {"127.0.0.1"}
    assert payloads[0]["called_ae_title"] == "OTHER"
    assert all(payload["reason"] for payload in payloads)


def test_peers_by_name_by_network_and_by_address_are_let_in(receiver: Receiver) -> None:
    assert [rejection(receiver.port, calling=title) for title in ("BYNAME", "BYNETWORK", CALLING)] == [None] * 3


def test_dcmtk_sees_the_reasons(receiver: Receiver) -> None:
    def reason(calling: str, called: str) -> str:
        command = [need_tool(ECHOSCU), "-aet", calling, "-aec", called, "127.0.0.1", str(receiver.port)]
        result = subprocess.run(command, env=DCMTK_ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
        assert result.returncode != 0
        return result.stderr

    assert "Called AE Title Not Recognized" in reason(CALLING, "OTHER")
    assert "Calling AE Title Not Recognized" in reason("STRANGER", CALLED)


def test_too_many_associations_are_rejected_until_one_ends(tmp_path: Path) -> None:
    limits = "max_associations = 3\nmax_associations_per_peer = 2"
    with running_receiver(write_config(tmp_path, association=limits, peers=PEERS)) as receiver:
        with ExitStack() as held:
            held.enter_context(association(receiver.port))
            held.enter_context(association(receiver.port))
            assert rejection(receiver.port) == LIMIT_EXCEEDED
            held.enter_context(association(receiver.port, calling="BYNAME"))
            assert rejection(receiver.port, calling="BYNETWORK") == LIMIT_EXCEEDED
        wait_for(lambda: rejection(receiver.port) is None, 10, "room for another association")
        reasons = [event["payload"]["reason"] for event in audit_rows(receiver.settings, "association-rejected")]
        assert reasons[:2] == ["too many associations of this peer", "too many associations"]


def test_what_may_be_opened_up_is_opened_up(tmp_path: Path) -> None:
    rules = "require_called_ae_title = false\naccept_unknown_peers = true"
    with running_receiver(write_config(tmp_path, association=rules, peers=PEERS)) as receiver:
        assert rejection(receiver.port, calling="STRANGER", called="ANYTHING") is None
        # A known peer is still held to its address.
        assert rejection(receiver.port, calling="ELSEWHERE") == CALLING_UNKNOWN


def test_further_called_ae_titles_are_answered(tmp_path: Path) -> None:
    with running_receiver(write_config(tmp_path, association='called_ae_titles = ["SECOND"]')) as receiver:
        assert [rejection(receiver.port, called=title) for title in (CALLED, "SECOND")] == [None, None]
        assert rejection(receiver.port, called="THIRD") == CALLED_UNKNOWN


def test_rejections_are_logged_within_the_limit_and_the_rest_is_counted(tmp_path: Path) -> None:
    with running_receiver(write_config(tmp_path, association="rejections_logged_per_minute = 3")) as receiver:
        for _ in range(8):
            assert rejection(receiver.port, calling="STRANGER") == CALLING_UNKNOWN
        assert receiver.stop() == 0
        payloads = [event["payload"] for event in audit_rows(receiver.settings, "association-rejected")]
        assert [payload.get("calling_ae_title") for payload in payloads] == ["STRANGER"] * 3 + [None]
        assert payloads[3] == {"suppressed": 5}


def test_silent_strangers_are_refused_within_the_log_and_keep_no_peer_out(tmp_path: Path) -> None:
    with running_receiver(write_config(tmp_path)) as receiver, ExitStack() as held:
        address = ("127.0.0.1", receiver.port)
        for _ in range(10):
            held.enter_context(socket.create_connection(address, timeout=30, source_address=("127.0.0.2", 0)))
        wait_for(lambda: len(audit_rows(receiver.settings, "connection-refused")) == 2, 10, "two to be refused")
        assert {event["payload"]["host"] for event in audit_rows(receiver.settings, "connection-refused")} == {
            "127.0.0.2"
        }
        assert rejection(receiver.port) is None
        # Another stranger who asks is told why it may not.
        other = held.enter_context(socket.create_connection(address, timeout=30, source_address=("127.0.0.3", 0)))
        other.sendall(associate_request(CALLING, CALLED))
        assert tuple(read_pdu(other)[7:10]) == CALLING_UNKNOWN


def test_ipv6_is_judged_too(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace('host = "127.0.0.1"', 'host = "::1"'))
    with running_receiver(config) as receiver:
        assert rejection(receiver.port, host="::1") is None
        assert rejection(receiver.port, host="::1", calling="STRANGER") == CALLING_UNKNOWN


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA and certificates that it signed, made by openssl."""
    folder = tmp_path_factory.mktemp("certificates")
    openssl = need_tool("/usr/bin/openssl")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *new_key, "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    for name, subject in (("node", "/CN=localhost"), ("good", "/O=Radiology/CN=modality.example"),
                          ("bad", "/CN=intruder,CN=modality.example")):  # fmt: skip
        run("req", *new_key, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2")  # fmt: skip
    return folder


def _client(certificates: Path, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.check_hostname = False
    if name:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context


def test_tls_asks_for_a_certificate_and_judges_its_subject(tmp_path: Path, certificates: Path) -> None:
    files = {"certificate": "node.pem", "key": "node.key", "ca": "ca.pem"}
    tls = "[tls]\n" + "\n".join(f'{key} = "{certificates / name}"' for key, name in files.items())
    with running_receiver(write_config(tmp_path, peers=PEERS, extra=tls)) as receiver:
        with association(receiver.port, calling="WITHTLS", tls=_client(certificates, "good")) as assoc:
            assert assoc.send_c_store(ct_image()).Status == 0x0000
        assert rejection(receiver.port, calling="WITHTLS", tls=_client(certificates, "bad")) == CALLING_UNKNOWN
        assert rejection(receiver.port, calling=CALLING, tls=_client(certificates, "good")) is None
        for context in (_client(certificates), None):
            with pytest.raises(OSError, match=r"."):
                rejection(receiver.port, tls=context)
        descriptors = Path(f"/proc/{receiver.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(20):
            with connect(receiver.port) as connection:
                connection.sendall(b"no handshake at all")
        wait_for(lambda: len(list(descriptors.iterdir())) <= before + 4, 20, "failed handshakes to leave nothing")
