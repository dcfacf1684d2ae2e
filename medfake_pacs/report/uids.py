"""Deterministic UIDs: the same facts give the same UID, so that a re-delivery repeats the same object."""

import hashlib
import json
from uuid import UUID

UUID_ROOT = "2.25"
_MAX_UID_CHARACTERS = 64


def derive_uid(root: str, *facts: object) -> str:
    """Return the UID under ``root`` that ``facts`` (anything that JSON can carry) determine.

    Under 2.25 the last component is a UUID as an integer (PS3.5 B.2, RFC 9562 version 8: from a digest).
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
    octets = bytearray(digest[:16])
    octets[6] = 0x80 | octets[6] & 0x0F
    octets[8] = 0x80 | octets[8] & 0x3F
    prefix = root.rstrip(".") + "."
    number = str(UUID(bytes=bytes(octets)).int)
    return prefix + number[: _MAX_UID_CHARACTERS - len(prefix)]
