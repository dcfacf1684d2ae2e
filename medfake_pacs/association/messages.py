"""The message service of the receiver: C-STORE data sets go to their object's file as they come (PS3.7 6.3).

Written against pynetdicom 3.0.4, whose chunked mode writes to the default temporary folder, leaves its
file behind when the handler raises or the association breaks, and aborts the association when the disk is
full, where the sender has a right to 0xA700.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_CANCEL_RQ, C_ECHO_RQ, C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from medfake_pacs.association.transport import WakingQueue

_COMMAND = 1
_LAST = 2
_MAX_COMMAND_BYTES = 65_536
_NO_DATA_SET = 0x0101
# The asynchronous operations window is 1; a peer that runs this far ahead is not a peer (PS3.7 D.3.3.3).
_MAX_WAITING = 8
UID_LENGTH = 64


class Sink(Protocol):
    """Where a data set goes; none of its methods raises."""

    def write(self, fragment: memoryview) -> None:
        """Take the next fragment, which is valid during the call only."""

    def discard(self) -> None:
        """Forget the object: its association is gone, or it isn't kept. May be called twice."""


class StoreRequest:
    """A C-STORE-RQ with its data set in ``sink``; ``sink`` is None where the request announced no data set."""

    def __init__(self, primitive: C_STORE, context_id: int, abstract_syntax_uid: str, sop_instance_uid: str) -> None:
        self.primitive = primitive
        self.context_id = context_id
        self.abstract_syntax_uid = abstract_syntax_uid
        self.sop_class_uid = str(primitive.AffectedSOPClassUID or "")
        self.sop_instance_uid = sop_instance_uid
        self.sink: Sink | None = None

    msg_type = "C-STORE"
    is_valid_request = True


class ProtocolError(Exception):
    """The peer breaks the message protocol: the association is aborted."""


class Messages(DIMSEServiceProvider):
    """Assembles commands, streams data sets, has objects served and queues the other requests.

    An object is served in the reactor's own thread: its sender waits for the answer, so that nothing else
    can come, and two changes of threads for each object are two waits for a busy processor.
    """

    def __init__(
        self,
        assoc: Association,
        notify: Callable[[], None],
        open_sink: Callable[[StoreRequest, str], Sink],
        serve: Callable[[StoreRequest], None],
    ) -> None:
        super().__init__(assoc)
        self._serve = serve
        self.msg_queue = WakingQueue(notify)
        self._open_sink = open_sink
        self._command = bytearray()
        self._context_id: int | None = None
        self._request: Any = None

    def receive_primitive(self, primitive: Any) -> None:
        """Take the values of one P-DATA; a breach of protocol becomes an invalid PDU for the state machine."""
        try:
            for context_id, value in primitive.presentation_data_value_list:
                self._take(context_id, value[0], value[1:])
        except ProtocolError:
            self.dul.event_queue.put("Evt19")

    @property
    def is_receiving(self) -> bool:
        """Tell whether a message has begun and not ended."""
        return self._context_id is not None

    def abandon(self) -> None:
        """Discard the data set that was under way when the association ended; called in the reactor's thread.

        In another one it could close the file's descriptor between a fragment's look at it and its write.
        """
        if isinstance(self._request, StoreRequest) and self._request.sink:
            self._request.sink.discard()

    def _take(self, context_id: int, control: int, data: memoryview) -> None:
        if self._context_id not in (None, context_id) or context_id not in self.assoc._accepted_cx:
            raise ProtocolError("a presentation context that wasn't accepted, or two at once")
        self._context_id = context_id
        if control & _COMMAND:
            if self._request is not None or len(self._command) + len(data) > _MAX_COMMAND_BYTES:
                raise ProtocolError("a command inside a data set, or too long")
            self._command += data
            if control & _LAST:
                self._begin(context_id)
        elif self._request is None:
            raise ProtocolError("a data set without a command")
        else:
            if isinstance(self._request, StoreRequest) and self._request.sink:
                self._request.sink.write(data)
            if control & _LAST:
                self._end()

    def _begin(self, context_id: int) -> None:
        message = _decoded(context_id, bytes(self._command))
        self._command.clear()
        has_data_set = message.command_set.get("CommandDataSetType") != _NO_DATA_SET
        if not isinstance(message, C_STORE_RQ):
            self._request = message.message_to_primitive()
        else:
            context = self.assoc._accepted_cx[context_id]
            self._request = _store_request(message, context_id, str(context.abstract_syntax))
            if has_data_set:
                self._request.sink = self._open_sink(self._request, str(context.transfer_syntax[0]))
        if not has_data_set:
            self._end()

    def _end(self) -> None:
        request, context_id = self._request, cast(int, self._context_id)
        if isinstance(request, StoreRequest):
            self._request, self._context_id = None, None
            self._serve(request)
            return
        if self.msg_queue.qsize() >= _MAX_WAITING:
            raise ProtocolError("too many requests before their answers")
        self._request, self._context_id = None, None
        self.msg_queue.put((context_id, request))


def _decoded(context_id: int, command: bytes) -> DIMSEMessage:
    primitive = P_DATA()
    primitive.presentation_data_value_list = cast(Any, [[context_id, bytes([_COMMAND | _LAST]) + command]])
    message = DIMSEMessage()
    try:
        message.decode_msg(primitive)
        known = isinstance(message, (C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ))
    except Exception as error:  # noqa: BLE001 - a stranger's bytes: pynetdicom raises whatever it meets
        raise ProtocolError(type(error).__name__) from None
    if not known:
        raise ProtocolError("a command that this service doesn't have")
    return message


def _store_request(message: DIMSEMessage, context_id: int, abstract_syntax_uid: str) -> StoreRequest:
    announced = str(message.command_set.get("AffectedSOPInstanceUID") or "")
    # pynetdicom takes no longer one; what was announced is judged later, and answered.
    message.command_set.AffectedSOPInstanceUID = announced[:UID_LENGTH]
    try:
        primitive = cast(C_STORE, message.message_to_primitive())
    except Exception as error:  # noqa: BLE001 - as above
        raise ProtocolError(type(error).__name__) from None
    if primitive.MessageID is None or primitive.AffectedSOPClassUID is None:
        raise ProtocolError("a C-STORE request without its mandatory elements")
    return StoreRequest(primitive, context_id, abstract_syntax_uid, announced)
