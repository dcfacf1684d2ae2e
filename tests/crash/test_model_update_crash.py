"""kill -9 at each step of an update: the old bundle is in force or the new one, and the update arrives all the same."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from medfake_pacs import audit
from medfake_pacs.classifier import load_bundle
from medfake_pacs.config import Settings, load_settings
from medfake_pacs.config.bundles import bundle_directories
from medfake_pacs.database import open_engine, reading
from medfake_pacs.workflows import model_offers
from tests import material, model_bundles
from tests.node import NodeProcess
from tests.support import REPOSITORY

ROUTES = '[[routes]]\nname = "CT"\nmodality = ["CT"]\nmodel = "lung-ct"\n'
IMAGES = 3
# In the order in which an update reaches them.
ACCEPTED = (
    "models.taken",
    "models.copied",
    "models.offer-taken",
    "models.offer-recorded",
    "models.canaried",
    "models.canary-recorded",
    "models.installed",
    "models.before-pointer",
    "models.after-pointer",
)
REFUSED = ("models.offer-taken", "models.refusal-recorded")
Worker = Callable[[str], None]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """Yield a stopped node that has scored a few images."""
    folder = tmp_path_factory.mktemp("update")
    base = model_bundles.small_models(folder / "base")
    extra = f'[scoring]\nmodels_dir = "{base}"\n[models]\ncanary_minimum = {IMAGES}\n'
    with NodeProcess(folder / "node", routes=ROUTES, extra=extra) as made:
        made.start()
        assert material.send(made.port, material.ct_series(IMAGES)) == [0] * IMAGES
        made.wait_idle(IMAGES, timeout_s=120)
        assert made.stop() == 0
        yield made


@pytest.fixture
def work(node: NodeProcess, tmp_path: Path) -> Worker:
    """Return a function that has a worker deal with new bundles; it is killed at the point that is named, if any."""

    numbers = count()

    def run(point: str) -> None:
        marker = tmp_path / f"crashed-{next(numbers)}"
        names = {"MEDFAKE_CRASH_POINT": point, "MEDFAKE_CRASH_MARKER": str(marker)} if point else {}
        command = [sys.executable, "-m", "tests.crash.model_worker", str(node.config)]
        done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | names, timeout=200, check=False)
        assert done.returncode == (-signal.SIGKILL if point else 0)

    return run


def _version_in_force(settings: Settings) -> str:
    return load_bundle(bundle_directories(settings)["lung-ct"]).card.version


def _facts(node: NodeProcess, kind: str, version: str) -> list[dict[str, object]]:
    payloads = [json.loads(row.payload)["payload"] for row in node.rows("audit_events", kind=kind)]
    return [item for item in payloads if version in (item.get("version"), item.get("to_version"))]


def test_an_update_whose_worker_is_killed_at_every_step_arrives(node: NodeProcess, work: Worker) -> None:
    settings = load_settings(node.config)
    before = _version_in_force(settings)
    source = bundle_directories(settings)["lung-ct"]
    new = model_bundles.edition(
        source, node.folder / "new", version="1.1.0", calibration={"slope": 1.0, "intercept": 0.1}
    )
    model_offers.stage(settings, new.directory, by="somebody", allow=())
    for point in ACCEPTED:
        work(point)
        assert _version_in_force(settings) == ("1.1.0" if point == "models.after-pointer" else before), point
    work("")
    assert _version_in_force(settings) == "1.1.0"
    _assert_logged_once(node, "1.1.0")
    kept = sorted(path.name.rpartition("-")[0] for path in (settings.model_library_dir / "lung-ct").glob("[!.]*-*"))
    assert kept == [before, "1.1.0"]

    newer = model_bundles.edition(new.directory, node.folder / "newer", version="1.2.0")
    model_offers.stage(settings, newer.directory, by="somebody", allow=())
    for point in ("models.switch-recorded", ""):
        work(point)
        assert _version_in_force(settings) == "1.2.0"
    _assert_logged_once(node, "1.2.0")


def _assert_logged_once(node: NodeProcess, version: str) -> None:
    """Nothing is left of the offer, and the log has each of its steps once."""
    settings = load_settings(node.config)
    for kind in ("model-offered", "model-canaried", "model-switched"):
        assert len(_facts(node, kind, version)) == 1, kind
    assert not _facts(node, "model-refused", version)
    assert not model_offers.offers(settings)
    assert not [path.name for path in settings.incoming_models_dir.iterdir() if path.name != ".lock"]
    engine = open_engine(node.database_url)
    with reading(engine) as connection:
        assert audit.verify(connection, None).ok
    engine.dispose()


def test_a_bundle_whose_worker_is_killed_while_it_is_refused_is_refused_once(node: NodeProcess, work: Worker) -> None:
    settings = load_settings(node.config)
    before = _version_in_force(settings)
    source = bundle_directories(settings)["lung-ct"]
    bad = model_bundles.edition(source, node.folder / "bad", version="9.0.0")
    target = model_offers.stage(settings, bad.directory, by="somebody", allow=())
    model_bundles.damage(target)
    for point in (*REFUSED, ""):
        work(point)
        assert _version_in_force(settings) == before, point
    events = [json.loads(row.payload)["payload"] for row in node.rows("audit_events", kind="model-refused")]
    refusals = [item for item in events if item["folder"] == target.name]
    assert len(refusals) == 1
    assert "SHA-256" in str(refusals[0]["reason"])
    [(_, folder)] = [pair for pair in model_offers.refused(settings) if pair[0].folder == target.name]
    assert (folder / "reason.txt").read_text().strip() == refusals[0]["reason"]
    assert not model_offers.offers(settings)


def test_a_bundle_that_kills_its_worker_each_time_is_refused(node: NodeProcess, work: Worker) -> None:
    settings = load_settings(node.config)
    before = _version_in_force(settings)
    source = bundle_directories(settings)["lung-ct"]
    killer = model_bundles.edition(source, node.folder / "killer", version="8.0.0")
    model_offers.stage(settings, killer.directory, by="somebody", allow=())
    for _ in range(3):
        work("models.offer-recorded")
    work("")
    [refusal] = _facts(node, "model-refused", "8.0.0")
    assert refusal["reason"] == "the process that tried it died 3 times"
    assert _version_in_force(settings) == before
