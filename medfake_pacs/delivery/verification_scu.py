"""Verification SCU: ask a destination whether it is there (PS3.4 Annex A)."""

import ssl

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from medfake_pacs.config import DestinationSettings
from medfake_pacs.delivery.association_scu import association
from medfake_pacs.errors import DeliveryError

_SUCCESS = 0x0000


def echo(destination: DestinationSettings, node_ae_title: str, tls_context: ssl.SSLContext | None = None) -> None:
    """Verify the destination by a C-ECHO.

    Raises
    ------
    DeliveryError
        With the reason by name, if it doesn't answer with Success.
    """
    contexts = [build_context(Verification, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
    with association(destination, node_ae_title, contexts, tls_context) as established:
        status = established.send_c_echo()
        if "Status" not in status:
            raise DeliveryError(f"{destination.ae_title} didn't answer the C-ECHO")
        if status.Status != _SUCCESS:
            raise DeliveryError(f"{destination.ae_title} answered the C-ECHO with 0x{status.Status:04X}")
