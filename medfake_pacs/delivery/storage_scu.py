"""Storage SCU: send reports, one association for a batch (PS3.4 Annex B)."""

import hashlib
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Comprehensive3DSRStorage, ComprehensiveSRStorage
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from medfake_pacs import crashpoints
from medfake_pacs.config import DestinationSettings
from medfake_pacs.delivery.association_scu import association
from medfake_pacs.entities import Delivery
from medfake_pacs.errors import DeliveryError, MedfakeError

_LOGGER = logging.getLogger(__name__)
_TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_SUCCESS = 0x0000
# Stored, with a remark: coerced, elements discarded, doesn't match the SOP class (PS3.4 Table B.2-1).
_WARNINGS = frozenset({0xB000, 0xB006, 0xB007})
_COMMENT_LENGTH = 64
_LARGEST_MESSAGE_ID = 65_535
# What reading, parsing or re-typing one report may raise; it must not keep the others of the batch back.
_UNREADABLE = (MedfakeError, OSError, EOFError, InvalidDicomError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingReport:
    """A report to send: its Part 10 file, and how to have it as Comprehensive SR (88.33).

    ``attempt`` is the number of this attempt at the delivery, from 1. Where ``sha256`` is given, a file
    with another digest isn't sent.
    """

    delivery_id: int
    report_uid: str
    path: Path
    comprehensive: Callable[[], Dataset]
    attempt: int = 0
    sha256: str = ""


def send_batch(
    destination: DestinationSettings,
    node_ae_title: str,
    items: Sequence[OutgoingReport],
    tls_context: ssl.SSLContext | None = None,
) -> list[Delivery]:
    """Send reports to one destination by one association, and return what became of each, in order.

    Each goes as Comprehensive 3D SR where the destination accepts that, else as Comprehensive SR. Sent is
    what was answered with Success or a warning; no answer is a failure. A destination that can't be
    reached makes every item a failure with the reason in ``comment``; nothing is raised for it.
    """
    if not items:
        return []
    crashpoints.reach("delivery.before-associate")
    sent: list[Delivery] = []
    try:
        with association(destination, node_ae_title, _report_contexts(), tls_context) as established:
            crashpoints.reach("delivery.after-associate")
            for outcome in _send_all(established, destination, items):
                sent.append(outcome)
                crashpoints.reach("delivery.after-response")
    except DeliveryError as error:
        _LOGGER.warning("no delivery to %s: %s", destination.ae_title, error)
        return [_failure(destination, item, str(error)) for item in items]
    return sent


def _report_contexts() -> list[PresentationContext]:
    """Propose each SOP class with each transfer syntax apart, so that the peer can accept all of them."""
    classes = (Comprehensive3DSRStorage, ComprehensiveSRStorage)
    return [build_context(sop_class, syntax) for sop_class in classes for syntax in _TRANSFER_SYNTAXES]


def _send_all(
    established: Association, destination: DestinationSettings, items: Sequence[OutgoingReport]
) -> Iterator[Delivery]:
    accepted = {context.abstract_syntax for context in established.accepted_contexts}
    lost = False
    for index, item in enumerate(items):
        if lost or not established.is_established:
            yield _failure(destination, item, "association aborted before this report's turn")
            continue
        try:
            dataset = _for_peer(item, accepted)
        except _UNREADABLE as error:
            yield _failure(destination, item, f"the report can't be read: {error}")
            continue
        outcome = _send_one(established, destination, item, dataset, index % _LARGEST_MESSAGE_ID + 1)
        # The association learns of an abort a moment after the answer that it took away.
        lost = outcome.status is None and bool(outcome.sent_sop_instance_uid)
        yield outcome


def _for_peer(item: OutgoingReport, accepted: set[UID | None]) -> Dataset:
    content = item.path.read_bytes()
    if item.sha256 and hashlib.sha256(content).hexdigest() != item.sha256:
        raise DeliveryError("the file isn't the one that was written")
    dataset = dcmread(BytesIO(content))
    if dataset.SOPClassUID in accepted:
        return dataset
    return item.comprehensive()


def _send_one(
    established: Association, destination: DestinationSettings, item: OutgoingReport, dataset: Dataset, message_id: int
) -> Delivery:
    digests: list[str] = []
    try:
        with _watching(established, digests):
            answer = established.send_c_store(dataset, msg_id=message_id)
    except RuntimeError:
        return _failure(destination, item, "association aborted before this report's turn")
    except (ValueError, AttributeError) as error:
        return replace(_failure(destination, item, str(error)), sop_class_uid=str(dataset.SOPClassUID))
    outcome = replace(
        _failure(destination, item, f"{destination.ae_title} didn't answer: association aborted or timed out"),
        sop_class_uid=str(dataset.SOPClassUID),
        sent_sop_instance_uid=str(dataset.SOPInstanceUID),
        sent_sha256="".join(digests),
    )
    return _answered(destination, outcome, answer) if "Status" in answer else outcome


@contextmanager
def _watching(established: Association, digests: list[str]) -> Iterator[None]:
    """Append the SHA-256 of each data set that is sent, as it is encoded for the peer."""

    def note(event: evt.Event) -> None:
        if event.message.data_set is not None:
            digests.append(hashlib.sha256(event.message.data_set.getvalue()).hexdigest())

    established.bind(evt.EVT_DIMSE_SENT, note)
    try:
        yield
    finally:
        established.unbind(evt.EVT_DIMSE_SENT, note)


def _answered(destination: DestinationSettings, outcome: Delivery, answer: Dataset) -> Delivery:
    """Return the outcome with what the peer answered."""
    status = int(answer.Status)
    succeeded = status == _SUCCESS or status in _WARNINGS
    remark = " ".join(str(answer.get("ErrorComment", "")).split())[:_COMMENT_LENGTH]
    comment = "" if status == _SUCCESS else f"{_status_text(status)}{': ' + remark if remark else ''}"
    _LOGGER.log(
        logging.INFO if succeeded else logging.WARNING,
        "report %s to %s: status 0x%04X",
        outcome.report_uid,
        destination.ae_title,
        status,
    )
    return replace(outcome, status=status, succeeded=succeeded, comment=comment)


def _status_text(status: int) -> str:
    category, text = STORAGE_SERVICE_CLASS_STATUS.get(status, ("Failure", ""))
    return f"0x{status:04X} {category}{': ' + text if text else ''}"


def _failure(destination: DestinationSettings, item: OutgoingReport, reason: str) -> Delivery:
    return Delivery(
        delivery_id=item.delivery_id,
        report_uid=item.report_uid,
        destination=destination.name,
        sop_class_uid="",
        status=None,
        succeeded=False,
        comment=reason,
        attempt=item.attempt,
    )
