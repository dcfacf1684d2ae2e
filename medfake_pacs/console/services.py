"""What every page and call needs, made once by the console's process."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from fastapi import Request
from fastapi.templating import Jinja2Templates

from medfake_pacs.config import Settings
from medfake_pacs.console.remembered import Answers, Calibrations, Views
from medfake_pacs.console.rendering.frames import FrameReader
from medfake_pacs.console.security.provider_metadata import ProviderMetadata
from medfake_pacs.console.security.refused_tokens import RefusedTokens
from medfake_pacs.workflows.context import Decoders

_HASHES_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The console's belongings; ``config_path`` is the file that the settings came from."""

    settings: Settings
    config_path: Path
    engine: sa.Engine
    decoders: Decoders
    frames: FrameReader
    templates: Jinja2Templates
    views: Views = field(default_factory=Views)
    answers: Answers = field(default_factory=Answers)
    calibrations: Calibrations = field(default_factory=Calibrations)
    refused_tokens: RefusedTokens = field(default_factory=RefusedTokens)
    provider: ProviderMetadata = field(default_factory=ProviderMetadata)
    # Each argon2id hash takes 64 MiB while it is computed.
    hashing: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_HASHES_AT_ONCE))

    def close(self) -> None:
        """End the decoding child processes and close the database."""
        self.decoders.close()
        self.engine.dispose()


def services_of(request: Request) -> Services:
    """Return the services of the application that answers ``request``; use as a dependency."""
    return cast(Services, request.app.state.services)
