"""Open an association as its requestor, and say by name why none came about."""

import logging
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from medfake_pacs.config import DestinationSettings
from medfake_pacs.errors import DeliveryError

_LOGGER = logging.getLogger(__name__)
_MAX_PDU_BYTES = 131_072
_PROBE_TIMEOUT_S = 5.0
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
    entity = AE(ae_title=node_ae_title)
    entity.acse_timeout = entity.dimse_timeout = destination.timeout_s
    entity.network_timeout = entity.connection_timeout = destination.timeout_s
    connected = False

    def on_connection(event: evt.Event) -> None:
        nonlocal connected
        connected = True
        # Without it, Nagle's algorithm and delayed acknowledgements cost 40 ms for each object.
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    started = time.monotonic()
    try:
        requested = entity.associate(
            destination.host,
            destination.port,
            contexts=contexts,
            ae_title=destination.ae_title,
            max_pdu=_MAX_PDU_BYTES,
            tls_args=(tls_context, destination.host) if tls_context else None,
            evt_handlers=[(evt.EVT_CONN_OPEN, on_connection)],
        )
    except OSError as error:
        raise DeliveryError(_connection_reason(destination, error)) from error
    if requested.is_established:
        return requested
    timed_out = time.monotonic() - started >= destination.timeout_s
    if connected:
        raise DeliveryError(_refusal_reason(destination, requested, timed_out))
    error = TimeoutError() if timed_out else _probe(destination, tls_context)
    raise DeliveryError(_connection_reason(destination, error))


def _probe(destination: DestinationSettings, tls_context: ssl.SSLContext | None) -> OSError | None:
    """Connect once more to learn why the library could not: it doesn't hand out the error."""
    timeout_s = min(destination.timeout_s, _PROBE_TIMEOUT_S)
    try:
        with socket.create_connection((destination.host, destination.port), timeout=timeout_s) as plain:
            if tls_context:
                tls_context.wrap_socket(plain, server_hostname=destination.host).close()
    except OSError as error:
        return error
    return None


def _connection_reason(destination: DestinationSettings, error: OSError | None) -> str:
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
    return f"no connection to {where}" + (f": {error.strerror or error}" if error else "")


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
