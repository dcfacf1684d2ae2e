"""Checking uploaded images: through real HTTP into the console, and by the worker's own function."""

import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events, deliveries, instances, reports, scores
from medfake_pacs.workflows import checking
from medfake_pacs.workflows.context import Context
from tests import material
from tests.console_support import ConsoleServer, console_settings, running_console


@pytest.fixture
def console(tmp_path: Path, database_url: str, model_cache: Path) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node with one destination, whose compiled models are shared."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "cache").symlink_to(model_cache)
    extra = {"destinations": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}]}
    with running_console(console_settings(tmp_path, database_url, extra)) as running:
        yield running


@pytest.fixture
def worker(console: ConsoleServer) -> Iterator[Context]:
    """Yield a worker's belongings on the console's database."""
    context = Context.open(console.settings, console.engine)
    yield context
    context.decoders.close()


def png(seed: int = 0, side: int = 256, mode: str = "L") -> bytes:
    """Return a picture of soft noise as PNG."""
    random = np.random.default_rng(seed)
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 255, shape, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def dicom(folder: Path, count: int = 1) -> list[tuple[str, bytes]]:
    """Return a CT series as (name, content)."""
    paths = material.save(material.ct_series(count, source=material.CT_512), folder)
    return [(path.name, path.read_bytes()) for path in paths]


def upload(client: httpx.Client, files: list[tuple[str, bytes]], model: str = "", path: str = "/checks") -> httpx.Response:
    """Upload files as a form does."""
    parts = [("files", (name, content, "application/octet-stream")) for name, content in files]
    return client.post(path, files=parts, data={"model": model})


def zipped(files: list[tuple[str, bytes]]) -> bytes:
    """Return files as a ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def run(worker: Context) -> None:
    """Have the worker assess what waits."""
    checking.run_waiting(worker, threading.Event())


def kinds(console: ConsoleServer) -> list[str]:
    """Return the kinds of the log's events, in order."""
    with reading(console.engine) as connection:
        return list(connection.execute(sa.select(audit_events.c.kind).order_by(audit_events.c.seq)).scalars())


def count(console: ConsoleServer, table: sa.Table) -> int:
    """Return how many rows a table has."""
    with reading(console.engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_a_series_is_checked_shown_and_reported(console: ConsoleServer, worker: Context, tmp_path: Path) -> None:
    client = console.signed_in(Role.RADIOLOGIST)
    files = [*dicom(tmp_path / "study", 3), ]
    answer = upload(client, [("study.zip", zipped([*files, ("README.txt", b"hello")]))])
    assert answer.status_code == 303, answer.text
    page = answer.headers["location"]
    assert "Waiting for a worker" in client.get(page).text
    run(worker)
    shown = client.get(page)
    assert shown.status_code == 200
    assert "3 of 3" in shown.text
    assert "lung-ct" in shown.text
    assert "study.zip/README.txt" in shown.text
    assert count(console, scores) == 3
    assert count(console, instances) == 0
    assert count(console, deliveries) == 0
    assert kinds(console)[-3:] == ["check-uploaded", "check-verdict", "check-viewed"]
    report = client.get(f"{page}/report")
    assert report.headers["content-type"] == "application/dicom"
    assert report.content[128:132] == b"DICM"
