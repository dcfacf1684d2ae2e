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
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationServer

from medfake_pacs.association.acceptor import Acceptor, AssociationUser, echo

_LOGGER = logging.getLogger(__name__)
_BACKLOG = 128
# Connections that haven't asked for an association yet, or wait for their rejection.
_SPARE_CONNECTIONS = 64
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
        implementation: tuple[str, str],
        tls: ssl.SSLContext | None = None,
        shared_port: bool = False,
    ) -> None:
        """Bind and listen at once; raises ``OSError`` if the address can't be had.

        ``user`` makes the user of each association; ``implementation`` is its class UID and version name.
        """
        self._shared_port = shared_port
        self._user = user
        self._tls = tls
        self._live: set[Acceptor] = set()
        self._live_lock = threading.Lock()
        self._live_limit = limits.max_associations + _SPARE_CONNECTIONS
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
        """Refuse a connection outright when even rejecting associations would cost too much."""
        del request, client_address
        with self._live_lock:
            return len(self._live) < self._live_limit

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Start the association's thread."""
        acceptor = _Tracked(self, request, client_address)
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

    def forget(self, acceptor: Acceptor) -> None:
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

    def __init__(self, server: ReceiverServer, connection: socket.socket, peer_address: Any) -> None:
        ae, user, tls = server.create()
        super().__init__(ae, user, connection, peer_address, tls)
        self._receiver_server = server
        self.bind(evt.EVT_C_ECHO, echo)

    def run_reactor(self) -> None:
        """Serve the connection, then be forgotten."""
        try:
            super().run_reactor()
        finally:
            self._receiver_server.forget(self)


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
