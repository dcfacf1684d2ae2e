"""The digest that tells one configuration from another; the log records it."""

import hashlib

from medfake_pacs.config.schema import Settings


def configuration_digest(settings: Settings) -> str:
    """Return the SHA-256 of the configuration in force, as the log records it."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
