"""What tests of checks share: a node with small models, files to upload, and uploading them as a form does."""

import io
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import sqlalchemy as sa
from PIL import Image

from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events
from medfake_pacs.workflows import checking
from medfake_pacs.workflows.context import Context
from tests import material
from tests.console_support import ConsoleServer, console_settings, running_console
from tests.unit.classifier_support import make_bundle

File = tuple[str, bytes]


def make_models(folder: Path) -> Path:
    """Make bundles with the shipped ones' names and random weights, whose domain takes any image."""
    make_bundle(folder / "lung-ct", name="lung-ct", modality="CT")
    make_bundle(folder / "knee-xr", name="knee-xr", modality="DX")
    return folder


def models_and_cache(folder: Path) -> Path:
    """Make small models in a folder and, beside them, the cache that they are compiled into."""
    (folder / "cache").mkdir()
    make_models(folder / "models")
    return folder


@contextmanager
def running_checks(
    folder: Path, database_url: str, models: Path, extra: dict[str, object] | None = None
) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node with one destination and the models of ``models_and_cache``."""
    (folder / "state").mkdir()
    (folder / "state" / "cache").symlink_to(models / "cache")
    settings = {
        "scoring": {"models_dir": str(models / "models")},
        "destinations": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}],
        **(extra or {}),
    }
    with running_console(console_settings(folder, database_url, settings)) as running:
        yield running


@contextmanager
def running_worker(console: ConsoleServer) -> Iterator[Context]:
    """Yield a worker's belongings on the console's database."""
    context = Context.open(console.settings, console.engine)
    yield context
    context.decoders.close()


def picture(seed: int = 0, side: int = 128, *, colour: bool = False, bits: int = 8, kind: str = "PNG") -> bytes:
    """Return noise as a PNG or JPEG file."""
    random = np.random.default_rng(seed)
    shape = (side, side, 3) if colour else (side, side)
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 2**bits - 1, shape, dtype=f"<u{bits // 8}")).save(buffer, kind)
    return buffer.getvalue()


def ct_files(folder: Path, count: int = 1) -> list[File]:
    """Return a series of small CT slices."""
    return [(path.name, path.read_bytes()) for path in material.save(material.ct_series(count), folder)]


def zipped(files: Sequence[File], **options: int) -> bytes:
    """Return files as a ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", options.get("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def upload(client: httpx.Client, files: Sequence[File], model: str = "", path: str = "/checks") -> httpx.Response:
    """Upload files as the form does."""
    parts = [("files", (name, content, "application/octet-stream")) for name, content in files]
    return client.post(path, files=parts, data={"model": model})


def run_worker(worker: Context) -> None:
    """Have the worker assess whatever waits."""
    checking.run_waiting(worker, threading.Event())


def kinds(console: ConsoleServer) -> list[str]:
    """Return the kinds of the log's events, in order."""
    with reading(console.engine) as connection:
        return list(connection.execute(sa.select(audit_events.c.kind).order_by(audit_events.c.seq)).scalars())


def rows(console: ConsoleServer, table: sa.Table) -> list[sa.Row]:
    """Return every row of a table."""
    with reading(console.engine) as connection:
        return list(connection.execute(sa.select(table)).all())


def left_behind(console: ConsoleServer) -> list[Path]:
    """Return what lies in the folder of uploads."""
    folder = console.settings.checks_dir
    return sorted(folder.iterdir()) if folder.exists() else []
