"""Fixtures of the tests that run a whole node: converted models, an Orthanc, a node with a route to it."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.console_studies import Studies, studies_of
from tests.console_support import ConsoleServer
from tests.node import NodeProcess
from tests.orthanc import OrthancPeer
from tests.support import REPOSITORY

ROUTES = """
[[routes]]
name = "CT"
modality = ["CT"]
model = "lung-ct"
send_to = ["pacs"]

[[routes]]
name = "X-ray"
modality = ["CR", "DX"]
model = "knee-xr"
send_to = ["pacs"]
"""
CONVERT = """
import sys
from pathlib import Path
from medfake_pacs.config import parse_settings
from medfake_pacs.workflows.context import Models
settings = parse_settings({"node": {"state_dir": sys.argv[1]}}, base=Path("/"), environment=__import__("os").environ)
models = Models(settings)
for name in ("lung-ct", "knee-xr"):
    models.classifier(name)
"""


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a cache folder with both models converted, once for all processes of the run.

    ``MEDFAKE_TEST_MODEL_CACHE`` names a folder that outlives the run, for those who run a test again and again.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "models"
    folder = Path(os.environ.get("MEDFAKE_TEST_MODEL_CACHE") or folder)
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            subprocess.run([sys.executable, "-c", CONVERT, str(folder)], check=True, cwd=REPOSITORY, timeout=300)
            (folder / "done").touch()
    return folder / "cache"


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancPeer]:
    """Yield a running Orthanc that stores whatever it is sent."""
    folder = tmp_path / "orthanc"
    folder.mkdir()
    peer = OrthancPeer(folder)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


@pytest.fixture
def make_node(tmp_path: Path, model_cache: Path, database_url: str) -> Iterator[Callable[..., NodeProcess]]:
    """Yield a function that makes a node (not started); what it made is killed at the end."""
    made: list[NodeProcess] = []

    def make(**options: object) -> NodeProcess:
        options.setdefault("routes", ROUTES)
        node = NodeProcess(
            tmp_path / f"node{len(made)}",
            cache=model_cache,
            database_url=database_url,
            **options,  # type: ignore[arg-type]
        )
        made.append(node)
        return node

    yield make
    for node in made:
        node.kill()


@pytest.fixture
def studies(console: ConsoleServer, tmp_path: Path) -> Iterator[Studies]:
    """Yield a maker of studies on the node of the module's own ``console``."""
    with studies_of(console.settings, console.engine, tmp_path) as made:
        yield made
