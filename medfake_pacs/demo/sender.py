"""The PACS's sending side: C-ECHO and C-STORE over a socket."""

import socket
import warnings
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pynetdicom import AE

from medfake_pacs.demo.case import DemoError

AE_TITLE = "DEMOPACS"
NODE_AE_TITLE = "MEDFAKE"
_HOST = "127.0.0.1"
_VERIFICATION = "1.2.840.10008.1.1"


def answers_echo(port: int) -> bool:
    """Return whether the node on ``port`` answers Verification with Success."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((_HOST, port)) != 0:
            return False
    entity = AE(ae_title=AE_TITLE)
    entity.add_requested_context(_VERIFICATION)
    association = entity.associate(_HOST, port, ae_title=NODE_AE_TITLE)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0x0000


def send_study(port: int, files: Sequence[Path]) -> None:
    """Send files that are one study in one association, each in the transfer syntax that it is stored in.

    Raises
    ------
    DemoError
        If the node refuses the association, a presentation context or an object.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values in the files are the node's business
        datasets = [pydicom.dcmread(path) for path in files]
        entity = AE(ae_title=AE_TITLE)
        for sop_class, syntax in {(item.SOPClassUID, item.file_meta.TransferSyntaxUID) for item in datasets}:
            entity.add_requested_context(sop_class, syntax)
        association = entity.associate(_HOST, port, ae_title=NODE_AE_TITLE)
        if not association.is_established:
            raise DemoError("the node refused the association")
        try:
            for path, dataset in zip(files, datasets, strict=True):
                status = association.send_c_store(dataset)
                if not status or status.Status != 0x0000:
                    answer = f"status {status.Status:04X}" if status else "no status"
                    raise DemoError(f"the node answered {answer} to {path.name}")
        finally:
            association.release()
