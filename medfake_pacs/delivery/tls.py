"""TLS as a client (PS3.15 B.9 and later, BCP 195): the node's certificate, and whom it trusts."""

import ssl

from medfake_pacs.config import TlsSettings
from medfake_pacs.errors import DeliveryError


def client_context(tls: TlsSettings | None) -> ssl.SSLContext | None:
    """Return the context for outgoing associations, or None without a [tls] section.

    The peer's certificate must be signed by ``tls.ca`` and name the host that the destination is
    configured with (an IP address counts if it is among the certificate's alternative names).

    Raises
    ------
    DeliveryError
        If a file can't be read or isn't what it should be.
    """
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        password = tls.key_password_file.read_text().strip("\r\n") if tls.key_password_file else ""
        # Always text: without one, OpenSSL would ask on the terminal for the password of an encrypted key.
        context.load_cert_chain(tls.certificate, tls.key, password=password)
        context.load_verify_locations(tls.ca)
    except (OSError, ValueError) as error:
        raise DeliveryError(f"the [tls] files can't be used: {error}") from error
    return context
