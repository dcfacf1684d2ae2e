"""One association that a peer opens: asked for, judged, served, ended (PS3.8 7, PS3.7 9.1.1)."""

import contextlib
import logging
import socket
import ssl
import threading
import traceback
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AddressInformation

from medfake_pacs import crashpoints
from medfake_pacs.association.messages import Messages, Sink, StoreRequest
from medfake_pacs.association.policy import Rejection, congested
from medfake_pacs.association.transport import Reactor, ReceivingSocket

_LOGGER = logging.getLogger(__name__)
_IDLE_CHECK_S = 0.5
_COMMENT_LENGTH = 64
RELEASED, ABORTED, LOST = "released", "aborted", "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRequest:
    """What an A-ASSOCIATE-RQ says, and where it came from."""

    calling_ae_title: str
    called_ae_title: str
    host: str
    tls_subject: str


class AssociationUser(Protocol):
    """Who judges an association and takes its objects; each association has its own."""

    def requested(self, request: AssociationRequest) -> Rejection | None:
        """Judge the request: None accepts it."""

    def contexts(self, abstract_syntaxes: frozenset[str]) -> list[PresentationContext]:
        """Return what is supported of the abstract syntaxes that the peer proposes."""

    def accepted(self) -> None:
        """Take note that the association is about to be accepted."""

    def open_sink(self, request: StoreRequest, transfer_syntax_uid: str) -> Sink:
        """Return where the data set of ``request`` goes; called in the reactor's thread."""

    def store(self, request: StoreRequest) -> tuple[int, str]:
        """Return the status and the error comment for an object that has arrived whole."""

    def rejected(self, request: AssociationRequest, rejection: Rejection) -> None:
        """Take note of a rejection that has been sent."""

    def ended(self, ending: str) -> None:
        """Take note that an accepted association has ended."""


class Acceptor(Association):
    """The acceptor's side of an association; its thread serves the requests that its reactor receives."""

    def __init__(
        self, ae: ApplicationEntity, user: AssociationUser, connection: socket.socket, peer_address: Any,
        tls: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        super().__init__(ae, MODE_ACCEPTOR)
        self._user = user
        self._tls = tls
        self._tls_subject = ""
        self._something_came = threading.Event()
        notify = self._something_came.set
        # An object belongs to the reactor's thread, from its first fragment to its end or its loss.
        self.dul = Reactor(self, ae.maximum_pdu_size, notify, self._abandon_object)
        self.dimse = Messages(self, notify, user.open_sink, self._serve_store)
        # Held while an object is served, which happens in the reactor's thread.
        self._storing = threading.Lock()
        self._is_over = False
        # The timers belong to the reactor, which is another one now.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        self.set_socket(ReceivingSocket(self, client_socket=connection))
        self.requestor.address_info = AddressInformation.from_tuple(peer_address)
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(connection.getsockname())
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name

    def run_reactor(self) -> None:
        """Serve the connection from its first byte to its end."""
        try:
            self._shake_hands()
            self.dul.start()
            self._started_dul = True
            self._dul_ready.wait()
            self._serve()
        except OSError as error:
            _LOGGER.info("connection without an association", extra={"reason": type(error).__name__})
        except Exception as error:  # noqa: BLE001 - a thread's outermost boundary; the text could hold what was sent
            where = traceback.format_tb(error.__traceback__)
            _LOGGER.error("association broken", extra={"reason": type(error).__name__, "traceback": where})
        finally:
            self._close()

    def _shake_hands(self) -> None:
        if self._tls is None:
            return
        wrapper = cast(ReceivingSocket, self.dul.socket)
        connection = cast(socket.socket, wrapper.socket)
        connection.settimeout(self.acse_timeout)
        secured = self._tls.wrap_socket(connection, server_side=True)
        wrapper.socket = secured
        self._tls_subject = subject_text(secured)

    def _serve(self) -> None:
        primitive = self.dul.receive_pdu(wait=True, timeout=self.acse_timeout)
        if not isinstance(primitive, A_ASSOCIATE):
            return
        self.requestor.primitive = primitive
        request = AssociationRequest(
            calling_ae_title=primitive.calling_ae_title.strip(),
            called_ae_title=primitive.called_ae_title.strip(),
            host=self.requestor.address_info.address,
            tls_subject=self._tls_subject,
        )
        try:
            rejection = self._user.requested(request)
        except Exception as error:  # noqa: BLE001 - whoever can't be judged isn't let in
            _LOGGER.error("association not judged", extra={"reason": type(error).__name__})
            rejection = congested()
        if rejection:
            self._reject(request, rejection)
            return
        ending = LOST
        try:
            ending = self._accept_and_serve(primitive)
        finally:
            with self._storing:
                self._is_over = True
            self._user.ended(ending)
            crashpoints.reach("receiver.association-released")

    def _reject(self, request: AssociationRequest, rejection: Rejection) -> None:
        self.acse.send_reject(rejection.result, rejection.source, rejection.reason)
        self.is_rejected = True
        self.dul.join(self.acse_timeout)
        self._user.rejected(request, rejection)

    def _accept_and_serve(self, primitive: A_ASSOCIATE) -> str:
        proposed = frozenset(str(item.abstract_syntax) for item in primitive.presentation_context_definition_list)
        self.acceptor.supported_contexts = self._user.contexts(proposed)
        self._user.accepted()
        crashpoints.reach("receiver.association-accepted")
        self.acse.negotiate_association()
        while not self._kill:
            self._something_came.wait(_IDLE_CHECK_S)
            self._something_came.clear()
            ending = self._turn()
            if ending:
                return ending
        return ABORTED

    def _turn(self) -> str:
        """Serve what has come; return how the association ended, or empty text while it goes on."""
        while True:
            context_id, message = self.dimse.get_msg(block=False)
            if message is None:
                break
            self._serve_request(message, cast(int, context_id))
        if self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            return RELEASED
        if self.acse.is_aborted():
            self.is_aborted, self.is_established = True, False
            return ABORTED if isinstance(self.dul.receive_pdu(wait=False), A_ABORT) else LOST
        if not self.dul.is_alive():
            return LOST
        if not self._storing.locked() and (self.dul.idle_timer_expired() or self._is_stalled()):
            self._abort()
            return ABORTED
        return ""

    def _is_stalled(self) -> bool:
        idle_s = cast(float, self.network_timeout) - self.dul._idle_timer.remaining
        return self.dimse.is_receiving and idle_s > cast(float, self.dimse_timeout)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if isinstance(msg, C_ECHO) and msg.AffectedSOPClassUID == Verification and msg.is_valid_request:
            super()._serve_request(msg, context_id)
        elif not isinstance(msg, C_CANCEL):
            self._abort()

    def _serve_store(self, request: StoreRequest) -> None:
        with self._storing:
            if not self._is_over:
                self._answer(request, *self._user.store(request))
            elif request.sink:
                request.sink.discard()
        self.dul._idle_timer.restart()

    def _abandon_object(self) -> None:
        self.dimse.abandon()

    def _answer(self, request: StoreRequest, status: int, comment: str) -> None:
        crashpoints.reach("receiver.before-response")
        response = C_STORE()
        response.MessageID = request.primitive.MessageID
        response.MessageIDBeingRespondedTo = request.primitive.MessageID
        response.AffectedSOPClassUID = request.primitive.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = request.primitive.AffectedSOPInstanceUID
        response.Status = status
        if comment:
            response.ErrorComment = comment[:_COMMENT_LENGTH]
        message = C_STORE_RSP()
        message.primitive_to_message(response)
        for primitive in message.encode_msg(request.context_id, self.dimse.maximum_pdu_size):
            # The reactor's action DT-1 in the reactor's thread, without the way through its queue.
            self.dul._send(P_DATA_TF(primitive))

    def _abort(self) -> None:
        if not self._sent_abort:
            self._sent_abort = True
            self.acse.send_abort(0x00)
        self.is_aborted, self.is_established = True, False

    def stop(self) -> None:
        """Abort the association from another thread; it ends soon afterwards."""
        self._abort()
        self._kill = True
        self._something_came.set()

    def _close(self) -> None:
        """End the reactor, give the connection back: whatever happened before."""
        wrapper = cast(ReceivingSocket, self.dul.socket)
        if self._started_dul:
            # The answer or the abort that is under way gets this long to leave.
            self.dul.join(1.0)
            self.dul.kill_dul()
        connection = wrapper.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            if self._started_dul:
                self.dul.join()
            connection.close()
        self.dul.wakeup.close()
        self._handlers = {}


def subject_text(connection: ssl.SSLSocket) -> str:
    """Return the subject of the peer's certificate as RFC 4514 text, or empty text without one."""
    certificate = connection.getpeercert() or {}
    names = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
             "localityName": "L", "stateOrProvinceName": "ST", "domainComponent": "DC"}  # fmt: skip
    parts = [
        "+".join(f"{names.get(key, key)}={_escaped(value)}" for key, value in relative)
        for relative in certificate.get("subject", ())
    ]
    return ",".join(reversed(parts))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")


def echo(_event: evt.Event) -> int:
    """Answer C-ECHO with Success."""
    return 0x0000
