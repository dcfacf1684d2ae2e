"""Open an association as its requestor, and say by name why none came about."""

import logging
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from medfake_pacs.config import DestinationSettings
from medfake_pacs.delivery.transport import RequestorEntity
from medfake_pacs.errors import DeliveryError

_LOGGER = logging.getLogger(__name__)
_MAX_PDU_BYTES = 131_072
# (source, reason/diag) of an A-ASSOCIATE-RJ, PS3.8 Table 9-21.
_REJECTION_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


@contextmanager
def association(
    destination: DestinationSettings,
    node_ae_title: str,
    contexts: Sequence[PresentationContext],
    tls_context: ssl.SSLContext | None,
) -> Iterator[Association]:
    """Yield an established association with ``destination``; release it afterwards, abort it on an error.

    Raises
    ------
    DeliveryError
        With the reason by name, if there is no connection, no association or no accepted context.
    """
    if destination.tls and tls_context is None:
        raise DeliveryError(f"{destination.name} wants TLS, and the node has no certificate")
    requested = _associate(destination, node_ae_title, list(contexts), tls_context if destination.tls else None)
    _LOGGER.debug("associated with %s", destination.ae_title)
    completed = False
    try:
        yield requested
        completed = True
    finally:
        if requested.is_established:
            if completed:
                requested.release()
            else:
                requested.abort()


def _associate(
    destination: DestinationSettings,
    node_ae_title: str,
    contexts: list[PresentationContext],
    tls_context: ssl.SSLContext | None,
) -> Association:
    entity = RequestorEntity(ae_title=node_ae_title)
    entity.acse_timeout = entity.dimse_timeout = destination.timeout_s
    entity.network_timeout = entity.connection_timeout = destination.timeout_s
    started = time.monotonic()
    try:
        requested = entity.associate(
            destination.host,
            destination.port,
            contexts=contexts,
            ae_title=destination.ae_title,
            max_pdu=_MAX_PDU_BYTES,
            tls_args=(tls_context, destination.host) if tls_context else None,
        )
    except OSError as error:
        raise DeliveryError(_connection_reason(destination, error)) from error
    if requested.is_established:
        return requested
    if entity.last_socket is not None and entity.last_socket.error is not None:
        raise DeliveryError(_connection_reason(destination, entity.last_socket.error))
    timed_out = time.monotonic() - started >= destination.timeout_s
    raise DeliveryError(_refusal_reason(destination, requested, timed_out))


def _connection_reason(destination: DestinationSettings, error: OSError) -> str:
    where = f"{destination.host}:{destination.port}"
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused by {where}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} isn't trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {where}: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return f"no connection to {where} within {destination.timeout_s:g} s"
    if isinstance(error, socket.gaierror):
        return f"the host name {destination.host} is unknown"
    return f"no connection to {where}: {error.strerror or error}"


def _refusal_reason(destination: DestinationSettings, requested: Association, timed_out: bool) -> str:
    peer = destination.ae_title
    if requested.is_rejected:
        answer = requested.acceptor.primitive
        reason = _REJECTION_REASONS.get((answer.result_source, answer.diagnostic), "unknown reason")
        return f"{peer} rejected the association: {reason}"
    if requested.rejected_contexts and not requested.accepted_contexts:
        names = dict.fromkeys(context.abstract_syntax.name for context in requested.rejected_contexts)
        return f"{peer} accepts none of: {', '.join(names)}"
    if timed_out:
        return f"{peer} didn't answer the association request within {destination.timeout_s:g} s"
    hint = "" if destination.tls else " (does it expect TLS?)"
    return f"{peer} closed the connection instead of answering the association request{hint}"
