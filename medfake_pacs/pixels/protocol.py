"""The messages between a decoder process and its parent: a fixed head, JSON, then raw bytes. Never pickle."""

import json
import struct
from collections.abc import Mapping
from typing import Any

HEAD = struct.Struct("<LQ")  # length of the JSON text, length of the payload behind it; both in bytes
MAX_TEXT_BYTES = 1 << 16


def encode(message: Mapping[str, Any], payload_bytes: int = 0) -> bytes:
    """Return a message's head and text; the caller sends ``payload_bytes`` bytes after it."""
    text = json.dumps(message).encode("ascii")
    return HEAD.pack(len(text), payload_bytes) + text


def decode(text: bytes) -> dict[str, Any]:
    """Return a message's text as a mapping.

    Raises
    ------
    ValueError
        It isn't a JSON object.
    """
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message
