"""Sockets for associations that we request: closed whatever happens, quick, and able to say what went wrong.

pynetdicom logs why a connection failed but doesn't hand it out, leaves the socket of a failed connection to
the garbage collector, and doesn't set TCP_NODELAY. Its documented interface has no place for any of the
three, so that two methods are overridden; were they renamed, only the reason would become less exact.
"""

import socket
import ssl
import sys
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket


class RequestorSocket(AssociationSocket):
    """A socket that keeps the error of a connection that failed in ``error``."""

    error: OSError | None = None
    _is_connected: bool

    def connect(self, primitive: Any) -> None:
        """Connect without Nagle's algorithm: with delayed acknowledgements it costs 40 ms for each object."""
        if self.socket is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connect(primitive)

    def _shutdown_socket(self) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and not self._is_connected:
            self.error = error
        if self.socket is None:
            return
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The peer was quicker, or there never was a connection.
            pass
        finally:
            self.socket.close()


class RequestorEntity(AE):
    """An application entity that requests associations by such sockets; ``last_socket`` is the newest."""

    last_socket: RequestorSocket | None = None

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        self.last_socket = RequestorSocket(assoc, address=address)
        self.last_socket.tls_args = tls_args
        return self.last_socket
