"""The File Meta Information of a spooled object: what it is, and who sent it (PS3.10 7.1).

The sender goes into the file beside the standard attributes, so that an object which was spooled but
not recorded can be recorded later with the AE titles and the host that it came from.
"""

import json
from dataclasses import asdict
from io import BytesIO

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from medfake_pacs.entities import Peer

PREAMBLE = b"\x00" * 128 + b"DICM"
IMPLEMENTATION_CLASS_UID = UID("2.25.327155144908996495821813681201420712174")
IMPLEMENTATION_VERSION_NAME = "MEDFAKE_PACS"
# Names the layout of (0002,0102) Private Information: JSON of the sender and the time of reception.
PRIVATE_CREATOR_UID = UID("2.25.94332109967665671892911794818220654614")


def encode(
    *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, peer: Peer, received_at: float
) -> bytes:
    """Return preamble, prefix and File Meta Information, ready to be followed by the data set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    meta.SourceApplicationEntityTitle = peer.calling_ae_title
    meta.SendingApplicationEntityTitle = peer.calling_ae_title
    meta.ReceivingApplicationEntityTitle = peer.called_ae_title
    note = json.dumps({"peer": asdict(peer), "received_at": received_at}, sort_keys=True).encode()
    meta.PrivateInformationCreatorUID = PRIVATE_CREATOR_UID
    meta.PrivateInformation = note + b" " * (len(note) % 2)
    buffer = BytesIO()
    buffer.write(PREAMBLE)
    write_file_meta_info(buffer, meta)
    return buffer.getvalue()


def sender(meta: FileMetaDataset, *, otherwise_at: float) -> tuple[Peer, float]:
    """Return who sent the object and when (seconds since the epoch), as far as its file says."""
    calling = str(meta.get("SendingApplicationEntityTitle", ""))[:16]
    called = str(meta.get("ReceivingApplicationEntityTitle", ""))[:16]
    unknown = Peer(association_id="", calling_ae_title=calling, called_ae_title=called, host="")
    if meta.get("PrivateInformationCreatorUID") != PRIVATE_CREATOR_UID:
        return unknown, otherwise_at
    try:
        note = json.loads(bytes(meta.PrivateInformation))
        return Peer(**note["peer"]), float(note["received_at"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return unknown, otherwise_at
