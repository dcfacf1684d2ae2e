"""`classify`, `route-test` and `models` as a user calls them, without a node."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medfake_pacs.config import load_settings
from tests import material
from tests.integration.conftest import ROUTES
from tests.node import NodeProcess

KEYS = {"modality", "model", "model_sha256", "verdict", "probability_fake", "images_scored", "images_total", "reason"}


@pytest.fixture
def node(tmp_path: Path, model_cache: Path) -> NodeProcess:
    """Return a node that is never started: its configuration is what the commands use."""
    return NodeProcess(tmp_path / "node", destinations=[("pacs", "PACS", 104)], routes=ROUTES, cache=model_cache)


def test_classify_gives_one_object_per_series_and_loose_image(node: NodeProcess, tmp_path: Path) -> None:
    series = material.ct_series(3, source=material.CT_512)
    material.save(series, tmp_path / "study")
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(tmp_path / "study" / "blank.png")
    (tmp_path / "study" / "notes.txt").write_text("no image")
    done = node.command("classify", "--json", "--heatmap", str(tmp_path / "maps"), str(tmp_path / "study"))
    found = {
        item.get("series_instance_uid", item.get("path")): item for item in map(json.loads, done.stdout.splitlines())
    }
    assert len(found) == 3
    assert all(set(item) >= KEYS for item in found.values())
    scored = found[str(series[0].SeriesInstanceUID)]
    assert (scored["images_total"], scored["model"]) == (3, "lung-ct")
    assert scored["verdict"] in {"real", "fake", "indeterminate"}
    assert all(item["score"] is not None for item in scored["images"])
    assert [item["sop_instance_uid"] for item in scored["images"]] == [str(item.SOPInstanceUID) for item in series]
    assert found[str(tmp_path / "study" / "blank.png")]["verdict"] == "not assessed"
    assert found[str(tmp_path / "study" / "notes.txt")]["verdict"] == "not assessed"
    assert done.returncode == 1
    assert len(list((tmp_path / "maps").glob("*.png"))) == 3


def test_classify_takes_a_model_by_name_and_says_when_there_is_none(node: NodeProcess, tmp_path: Path) -> None:
    Image.fromarray(np.full((256, 256), 128, np.uint8)).save(tmp_path / "blank.png")
    done = node.command("classify", "--json", "--model", "knee-xr", str(tmp_path / "blank.png"))
    assert json.loads(done.stdout)["verdict"] == "indeterminate"
    done = node.command("classify", "--model", "knie-xr", str(tmp_path / "blank.png"))
    assert done.returncode == 1
    assert "no model bundle is named 'knie-xr'" in done.stderr
    done = node.command("classify", str(tmp_path / "absent.png"))
    assert "absent.png: there is no such file" in done.stderr


def test_route_test_tells_why(node: NodeProcess, tmp_path: Path) -> None:
    (path,) = material.save([material.radiograph()], tmp_path / "x")
    done = node.command("route-test", str(path))
    assert done.returncode == 0
    assert "CT: Modality is " in done.stdout
    assert "route: X-ray\nmodel: knee-xr\nreport to: pacs" in done.stdout


def test_models_verify_names_a_damaged_bundle(
    node: NodeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = node.command("models", "verify")
    assert done.returncode == 0
    assert "2 of 2 bundles" in done.stdout
    shutil.copytree(load_settings(node.config).models_dir, tmp_path / "models")
    weights = tmp_path / "models" / "knee-xr" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setenv("MEDFAKE_SCORING__MODELS_DIR", str(tmp_path / "models"))
    done = node.command("models", "verify")
    assert done.returncode == 1
    assert "knee-xr: damaged" in done.stdout
    assert "1 of 2 bundles" in done.stdout


def test_help_is_quick_and_names_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medfake_pacs", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    for command in ("serve", "check-config", "classify", "echo", "route-test", "audit", "deliveries", "models"):
        assert command in done.stdout
