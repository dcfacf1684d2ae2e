"""Listen for connections and start an association for each."""

import logging
import select
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationServer

from medfake_pacs.association.acceptor import Acceptor, AssociationUser, echo
from medfake_pacs.association.waiting_room import Seat, WaitingRoom

_LOGGER = logging.getLogger(__name__)
_BACKLOG = 128
# Associations that are over, whose threads haven't ended yet.
_ENDING = 64
_POLL_S = 0.2
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one association, and all of them, may cost."""

    max_associations: int
    max_pdu_bytes: int
    acse_timeout_s: float
    dimse_timeout_s: float
    network_timeout_s: float


class ReceiverServer(AssociationServer):
    """Accepts connections on one port; several processes may share it."""

    request_queue_size = _BACKLOG

    def __init__(
        self,
        address: tuple[str, int],
        *,
        ae_title: str,
        limits: ServerLimits,
        user: Callable[[], AssociationUser],
        waiting_room: WaitingRoom,
        implementation: tuple[str, str],
        tls: ssl.SSLContext | None = None,
        shared_port: bool = False,
    ) -> None:
        """Bind and listen at once; raises ``OSError`` if the address can't be had.

        ``user`` makes the user of each association; ``waiting_room`` bounds the connections without one;
        ``implementation`` is the class UID and the version name.
        """
        self._shared_port = shared_port
        self._user = user
        self._tls = tls
        self._live: set[_Tracked] = set()
        self._live_lock = threading.Lock()
        self._waiting_room = waiting_room
        self._serving_limit = limits.max_associations + _ENDING
        _quieten()
        super().__init__(_application_entity(ae_title, limits, implementation), address, ae_title, [])
        self.bind(evt.EVT_C_ECHO, echo)
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="listener", daemon=True)

    def start(self) -> None:
        """Begin to accept connections, in a thread of its own."""
        self._thread.start()

    def stop_listening(self) -> None:
        """Refuse connections from now on; what is open goes on."""
        if self._thread.is_alive():
            super(AssociationServer, self).shutdown()
        self._take_what_is_queued()
        self.server_close()

    def _take_what_is_queued(self) -> None:
        """Serve the connections that the kernel has accepted already: closing the port would reset them."""
        self.socket.settimeout(0)
        poller = select.poll()
        poller.register(self.socket, select.POLLIN)
        while poller.poll(0):
            self._handle_request_noblock()

    @property
    def live(self) -> list[Acceptor]:
        """The connections that are open."""
        with self._live_lock:
            return list(self._live)

    def server_bind(self) -> None:
        """Bind, on a port that sibling receivers share if so configured (SO_REUSEPORT)."""
        if self._shared_port:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; it answers at once (TCP_NODELAY) and notices a dead peer."""
        connection, address = self.socket.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse a connection outright while too many associations are ending."""
        del request, client_address
        with self._live_lock:
            return sum(not acceptor.is_waiting for acceptor in self._live) < self._serving_limit

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Start the association's thread, or refuse the connection when too many are waiting already."""
        seat = self._waiting_room.enter(client_address[0])
        if seat is None:
            self.shutdown_request(request)
            return
        try:
            self._start(request, client_address, seat)
        except Exception:
            seat.leave()
            raise

    def _start(self, request: Any, client_address: Any, seat: Seat) -> None:
        acceptor = _Tracked(self, request, client_address, seat)
        with self._live_lock:
            self._live.add(acceptor)
        try:
            acceptor.start()
        except RuntimeError:
            self.forget(acceptor)
            raise

    def create(self) -> tuple[ApplicationEntity, AssociationUser, ssl.SSLContext | None]:
        """Return what a new association needs."""
        return self.ae, self._user(), self._tls

    def forget(self, acceptor: "_Tracked") -> None:
        """Take note that a connection is closed."""
        with self._live_lock:
            self._live.discard(acceptor)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a connection couldn't be served, without what it sent."""
        del request, client_address
        _LOGGER.error("connection not served", exc_info=True)

    def service_actions(self) -> None:
        """Do nothing between connections; pynetdicom collects garbage here, which stalls every association."""


class _Tracked(Acceptor):
    """An association that its server knows of until its connection is closed."""

    def __init__(self, server: ReceiverServer, connection: socket.socket, peer_address: Any, seat: Seat) -> None:
        ae, user, tls = server.create()
        super().__init__(ae, user, connection, peer_address, tls)
        self._receiver_server = server
        self._seat = seat
        self.is_waiting = True
        self.bind(evt.EVT_C_ECHO, echo)

    def run_reactor(self) -> None:
        """Serve the connection, then be forgotten."""
        try:
            super().run_reactor()
        finally:
            self._receiver_server.forget(self)
            self._seat.leave()

    def _accept_and_serve(self, primitive: A_ASSOCIATE) -> str:
        # From here on the policy counts it.
        self.is_waiting = False
        self._seat.leave()
        return super()._accept_and_serve(primitive)


def _application_entity(ae_title: str, limits: ServerLimits, implementation: tuple[str, str]) -> ApplicationEntity:
    ae = ApplicationEntity(ae_title)
    ae.implementation_class_uid, ae.implementation_version_name = implementation
    ae.maximum_pdu_size = limits.max_pdu_bytes
    ae.acse_timeout = limits.acse_timeout_s
    ae.dimse_timeout = limits.dimse_timeout_s
    ae.network_timeout = limits.network_timeout_s
    # The policy counts associations, by peer too; pynetdicom would count connections.
    ae.maximum_associations = _NO_LIMIT
    ae.require_called_aet = False
    ae.add_supported_context(Verification)
    return ae


def _quieten() -> None:
    """Keep pynetdicom from logging what peers send."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
