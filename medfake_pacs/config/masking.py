"""The configuration without its secrets, for whoever may read it but not use them: pages, calls and the log."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

MASK = "(not shown)"
# Keys whose value is itself a secret; what ends in _file is a path, which is none.
_SECRET_KEY = re.compile(r"(password|secret|token)$")
_WEB = {"http", "https"}


def without_secrets(document: Any) -> Any:
    """Return tables and lists of the configuration, however deep, with each secret masked."""
    if isinstance(document, Mapping):
        return {key: masked(key, without_secrets(value)) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [without_secrets(item) for item in document]
    return document


def masked(key: str, value: Any) -> Any:
    """Return a value of the configuration as anybody may see it.

    Of a web address that is scheme and host: what follows, of a webhook's, is often what lets one in. Of a database it
    is what leads there, without password or options.
    """
    if not isinstance(value, str) or not value:
        return value
    if _SECRET_KEY.search(key):
        return MASK
    if "://" not in value:
        return value
    try:
        return _web_address(key, value) if urlsplit(value).scheme.lower() in _WEB else _database(value)
    except (sa.exc.ArgumentError, ValueError):
        return MASK


def _web_address(key: str, value: str) -> str:
    parts = urlsplit(value)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if key != "url":
        # An issuer's or this console's own: its path tells nobody anything.
        return origin + parts.path
    hides = parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc
    return f"{origin}/{MASK}" if hides else origin + parts.path


def _database(value: str) -> str:
    url = sa.make_url(value)
    shown = url.set(query={}).render_as_string(hide_password=True)
    return f"{shown}?{MASK}" if url.query else shown
