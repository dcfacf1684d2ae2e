"""What delivery's tests send, and the peer that answers as a script says."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, ComprehensiveSRStorage, Verification

from medfake_pacs.config import DestinationSettings
from medfake_pacs.delivery import OutgoingReport

PATIENT = "Secret^Name"
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def report_dataset(uid: str, *, sop_class: str = Comprehensive3DSRStorage, study: str = "1.2.3") -> Dataset:
    """Return a small SR, enough for any archive to take it."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = f"{study}.9"
    dataset.Modality = "SR"
    dataset.PatientName = PATIENT
    dataset.PatientID = "SECRET-ID"
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    return dataset


def outgoing(folder: Path, delivery_id: int = 1, *, attempt: int = 1, study: str = "1.2.3") -> OutgoingReport:
    """Write a report and return it as an item of a batch; re-typed, its UID gets ``.33`` at its end."""
    uid = generate_uid(entropy_srcs=[str(folder), study, str(delivery_id)])[:56]
    path = folder / f"{delivery_id}.dcm"
    report_dataset(uid, study=study).save_as(path, enforce_file_format=True)
    return OutgoingReport(
        delivery_id=delivery_id,
        report_uid=uid,
        path=path,
        comprehensive=lambda: report_dataset(f"{uid}.33", sop_class=ComprehensiveSRStorage, study=study),
        attempt=attempt,
    )


def destination(port: int, **options: Any) -> DestinationSettings:
    """Return the settings of a destination on loopback."""
    values = {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port, "timeout_s": 5}
    return DestinationSettings(**values | options)


@dataclass
class ScriptedPeer:
    """What a peer got, and how it answers: a status for each C-STORE in turn, Success when they run out.

    ``"abort"`` aborts the association instead; ``"silence"`` answers only when the peer ends.
    """

    script: list[int | str] = field(default_factory=list)
    comment: str = ""
    port: int = 0
    received: list[Dataset] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    associations: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def store(self, event: evt.Event) -> int | Dataset:
        """Answer one C-STORE."""
        answer = self.script.pop(0) if self.script else 0x0000
        if answer == "abort":
            event.assoc.abort()
            return 0xC000
        if answer == "silence":
            self.ended.wait()
            return 0xC000
        received = event.dataset
        received.file_meta = event.file_meta
        self.received.append(received)
        self.digests.append(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        status = Dataset()
        status.Status = answer
        if self.comment:
            status.ErrorComment = self.comment
        return status

    def count(self, _event: evt.Event) -> None:
        """Count an association."""
        self.associations += 1


@contextmanager
def scripted_peer(
    *script: int | str,
    classes: Sequence[str] = (Comprehensive3DSRStorage, ComprehensiveSRStorage, Verification),
    syntaxes: Sequence[str] = SYNTAXES,
    comment: str = "",
    port: int = 0,
    tls: Any = None,
    **entity_options: Any,
) -> Iterator[ScriptedPeer]:
    """Yield a peer that listens on loopback; ``entity_options`` are attributes of its AE."""
    peer = ScriptedPeer(script=list(script), comment=comment)
    entity = AE(ae_title="ARCHIVE")
    for name, value in entity_options.items():
        setattr(entity, name, value)
    for sop_class in classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    handlers = [(evt.EVT_C_STORE, peer.store), (evt.EVT_REQUESTED, peer.count)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
    peer.port = server.server_address[1]
    try:
        yield peer
    finally:
        peer.ended.set()
        server.shutdown()
        server.server_close()
