"""What one account, or nobody in particular, can ask of the console without taking it from the others."""

import io
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from PIL import Image

from medfake_pacs.console.rendering import frames as frame_store
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import check_files, console_sessions
from medfake_pacs.database.tables import instances
from tests import material
from tests.console_studies import Studies, fake_from, studies_of
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.console_uploads import rows, upload


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path)) as running:
        yield running


@pytest.fixture
def studies(console: ConsoleServer, tmp_path: Path) -> Iterator[Studies]:
    """Yield a maker of studies."""
    with studies_of(console.settings, console.engine, tmp_path) as made:
        yield made


@contextmanager
def _memory_below(limit_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("declared", [400_000, 2_147_483_647])
def test_an_image_that_declares_many_frames_costs_no_more_than_are_shown(
    console: ConsoleServer, studies: Studies, declared: int
) -> None:
    uid = studies.make(material.ct_series(3), fake_from(1, 3))
    with transaction(console.engine) as connection:
        connection.execute(sa.update(instances).where(instances.c.instance_id == 2).values(number_of_frames=declared))
    client = console.signed_in(Role.VIEWER)
    with _memory_below(60_000_000):
        answer = client.get(f"/studies/{uid}")
    assert answer.status_code == 200
    assert f"{declared + 2 - 4000}" in answer.text.replace(",", "")
