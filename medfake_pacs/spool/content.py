"""What makes two objects the same: the SHA-256 of the transfer syntax and of the data set in it.

Equal bytes in two transfer syntaxes are two data sets: what was sent under a wrong one doesn't stand for
what is sent again under the right one.
"""

import hashlib
from pathlib import Path

_BLOCK_BYTES = 2**20


def begin_digest(transfer_syntax_uid: str) -> "hashlib._Hash":
    """Return the digest of an object of which nothing is known but its transfer syntax: UID and a NUL."""
    return hashlib.sha256(transfer_syntax_uid.encode("ascii", "replace") + b"\x00")


def digest_of(path: Path, *, data_set_offset: int, transfer_syntax_uid: str) -> tuple[str, int]:
    """Return the digest in hexadecimal and the size in bytes of the data set in a Part 10 file."""
    digest = begin_digest(transfer_syntax_uid)
    size = 0
    with path.open("rb") as file:
        file.seek(data_set_offset)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
