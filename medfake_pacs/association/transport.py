"""The upper layer of the receiver: pynetdicom's state machine on a reactor that waits instead of polling.

This module, ``messages``, ``acceptor`` and ``server`` are the adaptor to pynetdicom: no other one reaches into
its internals. They are written against 3.0.4. What they change, and why:

- Both threads of an association slept 1 ms between two looks at their queues, and the socket was read in
  steps of 4096 bytes. Here they wait for the socket or for each other, and a PDU is read whole.
- A PDU may not be longer than what was negotiated: 4 GiB could be announced, and were allocated.
- A peer that stops in the middle of a PDU, or dribbles, is cut off; it held its threads for ever.
- A connection that closes before it asks for an association frees its threads at once, not after 30 s.
- The TLS handshake runs in the association's thread; a silent peer blocked everyone else's.
- ``poll`` instead of ``select``, which fails from file descriptor 1024 on.
"""

import contextlib
import logging
import os
import queue
import select
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dul import _PDU_TYPES, DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.transport import AssociationSocket

_LOGGER = logging.getLogger(__name__)
_HEADER_BYTES = 6
_DATA_TRANSFER = 0x04
# 128 presentation contexts with every transfer syntax there is come to 120 KiB.
_MAX_REQUEST_BYTES = 524_288
_MAX_SHORT_BYTES = 4096
_ASSOCIATE_REQUEST = 0x01
_AWAITING_REQUEST = "Sta2"
_LONGEST_WAIT_S = 1.0


class MalformedPduError(Exception):
    """What arrived is no PDU that may come now (PS3.8 9.3.1)."""


class Wakeup:
    """Wakes one thread that polls ``fileno()``; calling ``set`` after ``close`` does nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable."""
        return self._descriptor

    def set(self) -> None:
        """Wake the waiting thread, now or when it next waits."""
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Take the wake-ups that came so far."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Give the file descriptor back; may be called twice."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


class WakingQueue(queue.Queue[Any]):
    """A queue that calls ``wake`` after each item."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put ``item`` and wake the reader."""
        super().put(item, block, timeout)
        self._wake()


class DataTransfer:
    """A P-DATA-TF PDU whose values are still in the receive buffer: (context id, control byte and data)."""

    def __init__(self, pdu: memoryview) -> None:
        """Split the PDU after its six bytes of header into its values (PS3.8 9.3.5).

        Raises
        ------
        MalformedPduError
            If a length leads out of the PDU.
        """
        self.presentation_data_value_list: list[tuple[int, memoryview]] = []
        position = _HEADER_BYTES
        while position < len(pdu):
            length = int.from_bytes(pdu[position : position + 4], "big")
            end = position + 4 + length
            if length < 2 or end > len(pdu):
                raise MalformedPduError("a presentation data value doesn't fit")
            self.presentation_data_value_list.append((pdu[position + 4], pdu[position + 5 : end]))
            position = end

    def to_primitive(self) -> "DataTransfer":
        """Return itself: what the DIMSE service reads of a P-DATA primitive is here."""
        return self


class ReceivingSocket(AssociationSocket):
    """An accepted connection, read a whole PDU at a time and always with a deadline."""

    @property
    def ready(self) -> bool:
        """Tell whether something can be read, which the end of the connection is too."""
        sock = self.socket
        if sock is None or not self._is_connected:
            return False
        if getattr(sock, "pending", int)():
            return True
        poller = select.poll()
        try:
            poller.register(sock, select.POLLIN)
            return bool(poller.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def receive_into(self, buffer: memoryview, deadline: float) -> bool:
        """Fill ``buffer`` before ``deadline`` (monotonic seconds); False if the connection ended first."""
        sock = cast(socket.socket, self.socket)
        while buffer:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the peer is too slow")
            sock.settimeout(left_s)
            count = sock.recv_into(buffer)
            if count == 0:
                return False
            buffer = buffer[count:]
        return True

    def send(self, bytestream: bytes) -> None:
        """Send everything, or report the connection as closed."""
        try:
            sock = cast(socket.socket, self.socket)
            sock.settimeout(self.assoc.network_timeout)
            sock.sendall(bytestream)
        except (OSError, AttributeError):
            self.event_queue.put("Evt17")


class Reactor(DULServiceProvider):
    """The upper layer service of one association: waits for its socket and for its user (PS3.8 9)."""

    def __init__(
        self, assoc: Association, max_pdu_bytes: int, notify: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        """Tell the user by ``notify`` that something came; call ``ended`` at the end of the reactor's thread."""
        super().__init__(assoc)
        self.daemon = True
        self._max_pdu_bytes = max_pdu_bytes
        self._notify = notify
        self._ended = ended
        self.wakeup = Wakeup()
        self._buffer = bytearray()
        self.to_provider_queue = WakingQueue(self.wakeup.set)
        self.to_user_queue = WakingQueue(notify)

    def kill_dul(self) -> None:
        """Stop the reactor."""
        super().kill_dul()
        self.wakeup.set()

    def stop_dul(self) -> bool:
        """Stop the reactor if its association is over, and wait until it has ended."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        self.join()
        return True

    def run_reactor(self) -> None:
        """Serve the association until the state machine ends it."""
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        try:
            while not self._kill_thread:
                if not self._turn():
                    self._wait()
        except Exception as error:  # noqa: BLE001 - a thread's outermost boundary; the text could hold what was sent
            where = traceback.format_tb(error.__traceback__)
            _LOGGER.error("association broken", extra={"reason": type(error).__name__, "traceback": where})
            self._abort_at_once()
        finally:
            self._ended()
            self.wakeup.close()
            # Whoever still waits for a primitive gets none, at once.
            self.to_user_queue.put(None)

    def _turn(self) -> bool:
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        elif not self._process_recv_primitive() and self._is_transport_event():
            self._idle_timer.restart()
        try:
            event = self.event_queue.get(block=False)
        except queue.Empty:
            return False
        self.state_machine.do_action(event)
        return True

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self.wakeup, select.POLLIN)
        sock = self.socket.socket if self.socket else None
        if sock is not None and sock.fileno() >= 0:
            poller.register(sock, select.POLLIN)
        wait_s = min(max(self.artim_timer.remaining, 0.01), _LONGEST_WAIT_S)
        poller.poll(wait_s * 1000)
        self.wakeup.clear()

    def _abort_at_once(self) -> None:
        pdu = A_ABORT_RQ()
        pdu.source = 0x02
        pdu.reason_diagnostic = 0x00
        cast(AssociationSocket, self.socket).send(pdu.encode())
        self.assoc.is_aborted = True
        self.assoc.is_established = False
        self.assoc._kill = True

    def _read_pdu_data(self) -> None:
        try:
            pdu = self._receive()
            if pdu is None:
                self.event_queue.put("Evt17")
            elif pdu[0] == _DATA_TRANSFER:
                self._recv_pdu.put(cast(Any, DataTransfer(pdu)))
                self.event_queue.put("Evt10")
            else:
                self._decode(bytes(pdu))
        except OSError:
            self.event_queue.put("Evt17")
        except MalformedPduError:
            self.event_queue.put("Evt19")

    def _receive(self) -> memoryview | None:
        """Return the next PDU, valid until the next call, or None at the end of the connection."""
        sock = cast(ReceivingSocket, self.socket)
        artim_s = self.artim_timer.remaining
        limit_s = artim_s if self.state_machine.current_state == _AWAITING_REQUEST else self.network_timeout
        deadline = time.monotonic() + cast(float, limit_s)
        header = bytearray(_HEADER_BYTES)
        if not sock.receive_into(memoryview(header), deadline):
            return None
        size = _HEADER_BYTES + self._length(header)
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        self._buffer[:_HEADER_BYTES] = header
        pdu = memoryview(self._buffer)[:size]
        return pdu if sock.receive_into(pdu[_HEADER_BYTES:], deadline) else None

    def _length(self, header: bytearray) -> int:
        kind, length = header[0], int.from_bytes(header[2:6], "big")
        limits = {_DATA_TRANSFER: self._max_pdu_bytes, _ASSOCIATE_REQUEST: _MAX_REQUEST_BYTES}
        if not 1 <= kind <= 7 or length > limits.get(kind, _MAX_SHORT_BYTES):
            raise MalformedPduError("unknown or oversized")
        return length

    def _decode(self, data: bytes) -> None:
        pdu_class, event = _PDU_TYPES[data[:1]]
        pdu = pdu_class()
        try:
            pdu.decode(data)
            if event == "Evt6":
                pdu.to_primitive()
        except Exception as error:  # noqa: BLE001 - a stranger's bytes: pynetdicom raises whatever it meets
            raise MalformedPduError(type(error).__name__) from None
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)
