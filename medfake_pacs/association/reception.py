"""Take the objects of one association: judge it, spool what is kept, record it, answer each object."""

import logging
import re
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pynetdicom.presentation import PresentationContext

from medfake_pacs import crashpoints
from medfake_pacs.association import policy as policies
from medfake_pacs.association.acceptor import AssociationRequest
from medfake_pacs.association.messages import Sink, StoreRequest
from medfake_pacs.association.policy import Policy, Rejection, Resolver
from medfake_pacs.association.register import Register, Tally
from medfake_pacs.association.rejections import Clerk
from medfake_pacs.association.sop_classes import REPORT_SOP_CLASSES, contexts_for, is_kept
from medfake_pacs.entities import AuditEvent, Peer, ReceivedInstance, SpooledInstance
from medfake_pacs.errors import CannotUnderstandError, OutOfResourcesError, ReceptionError, SopClassMismatchError

_LOGGER = logging.getLogger(__name__)
_SUCCESS = 0x0000
_UID = re.compile(r"[0-9][0-9.]{0,63}")
_ROOM_CHECK_BYTES = 16 * 2**20
_REPORT_BEGINNING_BYTES = 65_536


class IncomingObject(Protocol):
    """An object's file under construction, as the spool gives it."""

    path: Path

    def write(self, fragment: memoryview) -> None:
        """Append a fragment; may raise ``OSError``."""

    def discard(self) -> None:
        """Remove the file, if it is still there."""


class ObjectSpool(Protocol):
    """Where objects become durable."""

    def has_room(self) -> bool:
        """Tell whether there is room for more."""

    def open(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, peer: Peer, received_at: float
    ) -> IncomingObject:
        """Begin an object's file."""

    def keep(self, received: ReceivedInstance, incoming: Any) -> SpooledInstance:
        """Make an object durable."""


class Load:
    """Counts the associations of this process that are open, all and by calling AE title. Thread-safe."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def enter(self, ae_title: str) -> Rejection | None:
        """Count one more, or return why it is too many."""
        with self._lock:
            rejection = policies.judge_load(
                self._policy, open_associations=self._open.total(), open_of_peer=self._open[ae_title]
            )
            if rejection is None:
                self._open[ae_title] += 1
            return rejection

    def leave(self, ae_title: str) -> None:
        """Count one less."""
        with self._lock:
            self._open[ae_title] -= 1
            self._open += Counter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What all associations of a receiver share."""

    policy: Policy
    resolve: Resolver
    load: Load
    spool: ObjectSpool
    register: Register
    clerk: Clerk
    image_syntaxes: tuple[str, ...]
    accept_others: bool
    # Given the beginning of a data set and its transfer syntax UID.
    is_own_report: Callable[[bytes, str], bool]
    stopping: threading.Event


class ObjectSink:
    """Writes a data set to the spool; after a failure it takes the rest and lets it go."""

    def __init__(self, spool: ObjectSpool, request: StoreRequest, transfer_syntax_uid: str, peer: Peer) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        self.received_at = time.time()
        self.incoming: IncomingObject | None = None
        self.fault: ReceptionError | None = None
        self._spool = spool
        self._unchecked_bytes = 0
        try:
            self.incoming = spool.open(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=checked_uid(request.sop_instance_uid, "Affected SOP Instance UID"),
                transfer_syntax_uid=transfer_syntax_uid,
                peer=peer,
                received_at=self.received_at,
            )
        except ReceptionError as fault:
            self.fault = fault
        except (OSError, ValueError):
            self.fault = OutOfResourcesError("the object can't be opened")

    def write(self, fragment: memoryview) -> None:
        """Take the next fragment."""
        crashpoints.reach("receiver.first-fragment")
        if self.incoming is None or self.fault:
            return
        try:
            self.incoming.write(fragment)
            self._unchecked_bytes += len(fragment)
            if self._unchecked_bytes >= _ROOM_CHECK_BYTES:
                self._unchecked_bytes = 0
                if not self._spool.has_room():
                    self._give_up()
        except (OSError, ReceptionError):
            self._give_up()

    def discard(self) -> None:
        """Remove the file."""
        try:
            if self.incoming:
                self.incoming.discard()
        except OSError as error:
            _LOGGER.error("incoming object not removed", extra={"reason": type(error).__name__})

    def _give_up(self) -> None:
        self.fault = OutOfResourcesError("the spool is full")
        self.discard()


class PassingSink:
    """Takes a data set that isn't kept; of a report it remembers the beginning."""

    def __init__(self, transfer_syntax_uid: str, remember_bytes: int) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        self.beginning = bytearray()
        self._remember_bytes = remember_bytes

    def write(self, fragment: memoryview) -> None:
        """Take the next fragment."""
        room = self._remember_bytes - len(self.beginning)
        if room > 0:
            self.beginning += fragment[:room]

    def discard(self) -> None:
        """Do nothing."""


class Receptionist:
    """The user of one association: judges the request, takes the objects, leaves the rows."""

    def __init__(self, reception: Reception) -> None:
        self._shared = reception
        self._peer = Peer(association_id=str(uuid.uuid4()), calling_ae_title="", called_ae_title="", host="")
        self._opened_at = time.time()
        self._kept = 0
        self._not_kept: Counter[tuple[str, bool]] = Counter()

    def requested(self, request: AssociationRequest) -> Rejection | None:
        """Judge the request; when in doubt, it is rejected."""
        self._peer = Peer(
            association_id=self._peer.association_id,
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            host=request.host,
            tls_subject=request.tls_subject,
        )
        if self._shared.stopping.is_set():
            return policies.congested()
        rejection = policies.judge(
            self._shared.policy,
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            host=request.host,
            tls_subject=request.tls_subject,
            resolve=self._shared.resolve,
        )
        return rejection or self._shared.load.enter(request.calling_ae_title)

    def contexts(self, abstract_syntaxes: frozenset[str]) -> list[PresentationContext]:
        """Return what is supported of the abstract syntaxes that the peer proposes."""
        shared = self._shared
        return contexts_for(abstract_syntaxes, image_syntaxes=shared.image_syntaxes, accept_others=shared.accept_others)

    def accepted(self) -> None:
        """Record the association."""
        _LOGGER.info("association accepted", extra=self._about())
        self._shared.register.open(self._peer, self._opened_at)

    def rejected(self, request: AssociationRequest, rejection: Rejection) -> None:
        """Log a rejection."""
        payload = {
            "reason": rejection.text,
            "calling_ae_title": request.calling_ae_title,
            "called_ae_title": request.called_ae_title,
            "host": request.host,
            "tls_subject": request.tls_subject,
            "rejection": [rejection.result, rejection.source, rejection.reason],
        }
        _LOGGER.warning("association rejected", extra=self._about() | {"reason": rejection.text})
        event = AuditEvent(kind="association-rejected", ae_title=request.calling_ae_title, payload=payload)
        self._shared.clerk.log(event)

    def ended(self, ending: str) -> None:
        """Record the association's end."""
        self._shared.load.leave(self._peer.calling_ae_title)
        tally = Tally(kept=self._kept, not_kept=dict(self._not_kept))
        self._shared.register.close(self._peer, self._opened_at, ending, tally)
        counts = {"ending": ending, "kept": self._kept, "not_kept": self._not_kept.total()}
        _LOGGER.info("association ended", extra=self._about() | counts)

    def open_sink(self, request: StoreRequest, transfer_syntax_uid: str) -> Sink:
        """Return where the data set of ``request`` goes."""
        if is_kept(request.sop_class_uid):
            return ObjectSink(self._shared.spool, request, transfer_syntax_uid, self._peer)
        remember = _REPORT_BEGINNING_BYTES if request.sop_class_uid in REPORT_SOP_CLASSES else 0
        return PassingSink(transfer_syntax_uid, remember)

    def store(self, request: StoreRequest) -> tuple[int, str]:
        """Make an object durable and record it; only then the status is Success."""
        try:
            self._store(request)
        except ReceptionError as refusal:
            self._refused(request, refusal.status, str(refusal))
            return refusal.status, str(refusal)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happens, the sender gets an answer
            where = traceback.format_tb(error.__traceback__)
            _LOGGER.error(
                "object not stored", extra=self._about() | {"reason": type(error).__name__, "traceback": where}
            )
            self._refused(request, CannotUnderstandError.status, "internal error")
            return CannotUnderstandError.status, "internal error"
        finally:
            if request.sink:
                request.sink.discard()
        return _SUCCESS, ""

    def _store(self, request: StoreRequest) -> None:
        if request.abstract_syntax_uid != request.sop_class_uid:
            raise SopClassMismatchError("the SOP class isn't the presentation context's")
        sop_instance_uid = checked_uid(request.sop_instance_uid, "Affected SOP Instance UID")
        sink = request.sink
        if isinstance(sink, PassingSink):
            own = bool(sink.beginning) and self._shared.is_own_report(bytes(sink.beginning), sink.transfer_syntax_uid)
            self._not_kept[(request.sop_class_uid, own)] += 1
            return
        if not isinstance(sink, ObjectSink):
            raise CannotUnderstandError("there is no data set")
        if sink.fault or sink.incoming is None:
            raise sink.fault or OutOfResourcesError("the object can't be opened")
        received = ReceivedInstance(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=sink.transfer_syntax_uid,
            path=sink.incoming.path,
            peer=self._peer,
            received_at=sink.received_at,
        )
        self._shared.register.record(self._shared.spool.keep(received, sink.incoming))
        self._kept += 1

    def _refused(self, request: StoreRequest, status: int, reason: str) -> None:
        _LOGGER.warning("object refused", extra=self._about() | {"status": f"{status:04X}", "reason": reason})
        payload = {
            "status": f"{status:04X}",
            "reason": reason,
            "association_id": self._peer.association_id,
            "host": self._peer.host,
            "sop_class_uid": request.sop_class_uid,
        }
        valid = _UID.fullmatch(request.sop_instance_uid)
        event = AuditEvent(
            kind="instance-refused",
            sop_instance_uid=request.sop_instance_uid if valid else "",
            ae_title=self._peer.calling_ae_title,
            payload=payload,
        )
        self._shared.clerk.log(event)

    def _about(self) -> dict[str, object]:
        return {"association_id": self._peer.association_id, "calling_ae_title": self._peer.calling_ae_title}


def checked_uid(text: str, name: str) -> str:
    """Return ``text`` if it is a UID (PS3.5 9.1); raises ``CannotUnderstandError`` otherwise."""
    if not _UID.fullmatch(text):
        raise CannotUnderstandError(f"{name} is malformed")
    return text
