"""The server by itself, in the test's process: who touches an object, and who gets a connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pynetdicom.presentation import PresentationContext

from medfake_pacs.association.acceptor import AssociationRequest
from medfake_pacs.association.messages import StoreRequest
from medfake_pacs.association.policy import Rejection
from medfake_pacs.association.server import ReceiverServer, ServerLimits
from medfake_pacs.association.sop_classes import contexts_for
from medfake_pacs.association.waiting_room import Room, WaitingRoom
from tests.receiver_support import CALLED, CALLING, associate_request, begin_object, connect, read_pdu
from tests.support import wait_for

EXPLICIT = "1.2.840.10008.1.2.1"


class _User:
    """Accepts every association; remembers in which threads its object was written and discarded."""

    def __init__(self) -> None:
        self.writers: list[int] = []
        self.discarders: list[int] = []

    def requested(self, _request: AssociationRequest) -> Rejection | None:
        return None

    def contexts(self, abstract_syntaxes: frozenset[str]) -> list[PresentationContext]:
        return contexts_for(abstract_syntaxes, image_syntaxes=(EXPLICIT,), accept_others=False)

    def accepted(self) -> None:
        """Do nothing."""

    def open_sink(self, _request: StoreRequest, _transfer_syntax_uid: str) -> "_User":
        return self

    def write(self, _fragment: memoryview) -> None:
        self.writers.append(threading.get_ident())

    def discard(self) -> None:
        self.discarders.append(threading.get_ident())

    def store(self, _request: StoreRequest) -> tuple[int, str]:
        return 0x0000, ""

    def rejected(self, _request: AssociationRequest, _rejection: Rejection) -> None:
        """Do nothing."""

    def ended(self, _ending: str) -> None:
        """Do nothing."""


def _waiting_room(refused: list[str]) -> WaitingRoom:
    """A room in which 127.0.0.1 is a peer's address and no other one is."""
    return WaitingRoom(
        known=Room(of_address=2, in_total=2),
        unknown=Room(of_address=2, in_total=2),
        is_known=lambda host: host == "127.0.0.1",
        refused=refused.append,
    )


@contextmanager
def _serving(user: _User, room: WaitingRoom | None = None) -> Iterator[ReceiverServer]:
    limits = ServerLimits(
        max_associations=8, max_pdu_bytes=16_384, acse_timeout_s=10, dimse_timeout_s=10, network_timeout_s=10
    )
    server = ReceiverServer(
        ("127.0.0.1", 0),
        ae_title=CALLED,
        limits=limits,
        user=lambda: user,
        waiting_room=room or _waiting_room([]),
        implementation=("1.2.3", "TEST"),
    )
    server.start()
    try:
        yield server
    finally:
        server.stop_listening()
        for acceptor in server.live:
            acceptor.stop()
            acceptor.join(10)


def test_an_object_is_discarded_by_the_thread_that_writes_it() -> None:
    user = _User()
    with _serving(user) as server, connect(server.server_address[1]) as connection:
        begin_object(connection)
        wait_for(lambda: user.writers, 10, "the object to begin")
        server.live[0].stop()
        wait_for(lambda: user.discarders, 10, "the object to be discarded")
        assert set(user.discarders) == set(user.writers)


def _connect_from(address: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))


def test_silent_strangers_are_cut_off_and_keep_nobody_out() -> None:
    refused: list[str] = []
    with _serving(_User(), _waiting_room(refused)) as server, ExitStack() as open_ones:
        port = server.server_address[1]
        for number in range(2, 12):
            open_ones.enter_context(_connect_from(f"127.0.0.{number}", port))
        wait_for(lambda: len(refused) == 8, 10, "eight to be refused")
        assert len(server.live) == 2
        # More associations than may wait: what has become one doesn't wait any more.
        for _ in range(4):
            peer = open_ones.enter_context(_connect_from("127.0.0.1", port))
            peer.sendall(associate_request(CALLING, CALLED))
            assert read_pdu(peer)[0] == 0x02
        assert len(refused) == 8
    wait_for(lambda: not server.live, 10, "the connections to be closed")
