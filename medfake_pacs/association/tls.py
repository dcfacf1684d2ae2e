"""The TLS context that associations are accepted with (PS3.15 B.9: BCP 195)."""

import ssl
from pathlib import Path


def server_context(
    *, certificate: Path, key: Path, ca: Path, key_password_file: Path | None, require_client_certificate: bool
) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and newer that asks for a certificate which ``ca`` has signed.

    Raises
    ------
    OSError
        If a file can't be read; ``ssl.SSLError``, a kind of it, if one is no PEM file or the password is wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    password = key_password_file.read_text("utf-8").strip() if key_password_file else None
    # Without a password OpenSSL would ask for one on the terminal.
    context.load_cert_chain(certificate, key, password=password if password is not None else "")
    context.load_verify_locations(cafile=ca)
    context.verify_mode = ssl.CERT_REQUIRED if require_client_certificate else ssl.CERT_OPTIONAL
    return context
