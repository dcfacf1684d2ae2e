"""Updates of the bundle that ships, and of two nodes that share their database."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medfake_pacs.config import load_settings
from medfake_pacs.config.bundles import base_directories
from tests import material, model_bundles
from tests.node import NodeProcess
from tests.support import wait_for

MakeNode = Callable[..., NodeProcess]
ROUTES = '[[routes]]\nname = "CT"\nmodality = ["CT"]\nmodel = "lung-ct"\n'
_TIMEOUT_S = 400.0


def _switched(node: NodeProcess) -> list[dict[str, object]]:
    refused = [json.loads(row.payload)["payload"] for row in node.rows("audit_events", kind="model-refused")]
    assert not refused
    return [json.loads(row.payload)["payload"] for row in node.rows("audit_events", kind="model-switched")]


def test_the_shipped_bundle_is_updated_while_a_series_is_scored(make_node: MakeNode, database_url: str) -> None:
    if database_url:
        pytest.skip("what differs between databases is tested with smaller networks")
    images = 24
    node = make_node(routes=ROUTES, extra="[models]\ncanary_minimum = 4\n").start()
    base = base_directories(load_settings(node.config))["lung-ct"]
    first = material.ct_series(4, source=material.CT_512)
    assert material.send(node.port, first) == [0] * 4
    node.wait_idle(4, timeout_s=_TIMEOUT_S)
    new = model_bundles.edition(base, node.folder / "new", version="99.0.0", weights=1e-4)
    [old_digest] = {row.model_sha256 for row in node.rows("instances")}
    assert new.model_sha256 != old_digest
    assert node.command("models", "install", str(new.directory)).returncode == 0
    second = material.ct_series(images, source=material.CT_512, seed=5)
    assert material.send(node.port, second) == [0] * images
    wait_for(lambda: _switched(node), _TIMEOUT_S, f"the switch ({node.log_path})")
    third = material.ct_series(2, source=material.CT_512, seed=9)
    assert material.send(node.port, third) == [0, 0]
    node.wait_idle(images + 6, timeout_s=_TIMEOUT_S)
    verdicts = node.rows("verdicts", scope="series")
    assert {row.model_sha256 for row in verdicts} <= {old_digest, new.model_sha256}
    for series, count in ((first, 4), (second, images), (third, 2)):
        uid = series[0].SeriesInstanceUID
        [verdict] = [row for row in verdicts if row.scope_uid == uid]
        assert verdict.images_total == count
        rows = node.rows("instances", series_instance_uid=uid)
        assert {(row.state, row.not_assessed_reason, row.model_sha256) for row in rows} == {
            ("done", None, verdict.model_sha256)
        }
    [newest] = [row for row in verdicts if row.scope_uid == third[0].SeriesInstanceUID]
    assert newest.model_sha256 == new.model_sha256
    assert node.command("models", "verify").returncode == 0
    assert node.command("audit", "verify").returncode == 0
    assert node.stop() == 0


def test_every_worker_on_the_database_uses_what_one_has_switched_to(postgresql_url: str, tmp_path: Path) -> None:
    base = model_bundles.small_models(tmp_path / "base")
    extra = f'[scoring]\nmodels_dir = "{base}"\n[models]\ncanary_minimum = 2\n'
    cache = tmp_path / "cache"
    cache.mkdir()
    nodes = []
    for name in ("a", "b"):
        node = NodeProcess(tmp_path / name, routes=ROUTES, extra=extra, database_url=postgresql_url, cache=cache)
        for shared in ("spool", "models"):
            (tmp_path / shared).mkdir(exist_ok=True)
            (node.state_dir / shared).symlink_to(tmp_path / shared)
        nodes.append(node)
    first, second = nodes
    with first, second:
        first.start()
        assert material.send(first.port, material.ct_series(2)) == [0, 0]
        first.wait_idle(2, timeout_s=_TIMEOUT_S)
        second.start()
        before = material.ct_series(1, seed=1)
        assert material.send(second.port, before) == [0]
        first.wait_idle(3, timeout_s=_TIMEOUT_S)
        new = model_bundles.edition(
            base / "lung-ct", tmp_path / "new", version="1.1.0", calibration={"slope": 1.0, "intercept": 0.2}
        )
        assert first.command("models", "install", str(new.directory)).returncode == 0
        wait_for(lambda: _switched(first), _TIMEOUT_S, f"the switch ({first.log_path})")
        assert first.stop() == 0
        after = material.ct_series(2, seed=2)
        assert material.send(second.port, after) == [0, 0]
        second.wait_idle(5, timeout_s=_TIMEOUT_S)
        rows = second.rows("instances", study_instance_uid=after[0].StudyInstanceUID)
        assert {row.model_sha256 for row in rows} == {new.model_sha256}
        assert len(_switched(second)) == 1
        assert second.stop() == 0
