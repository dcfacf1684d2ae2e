"""The whole chain as its commands run it: generators, training, export, evaluation; with a network that is quick."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medfake_pacs.classifier import load_bundle
from tests.support import REPOSITORY

CONFIG = REPOSITORY / "training" / "configs" / "quick.toml"
BACKBONE = "test_efficientnet"
FAMILIES = 'families = ["upsample", "reconstruct", "pix2pix", "vae"]'


# One process runs the chain; two would each run it for tests of their own.
pytestmark = pytest.mark.xdist_group("chain")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the chain wrote."""
    folder = tmp_path_factory.mktemp("chain")
    text = CONFIG.read_text(encoding="utf-8").replace("efficientnet_b4", BACKBONE)
    text, changed = re.subn(r"^families = .*$", FAMILIES, text, flags=re.MULTILINE)
    assert changed == 1
    (folder / "quick.toml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "training", "chain", "--config", str(folder / "quick.toml"), "--data", "."]
    command += ["--output", str(folder / "run"), "--budget-minutes", "0.8", "--threads", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return folder / "run"


def test_the_bundle_can_be_loaded_and_says_how_it_was_made(output: Path) -> None:
    card = load_bundle(output / "bundle").card
    assert card.network.backbone == BACKBONE
    assert {"upsample", "pix2pix"} <= set(card.training["families"])
    assert card.training["steps"] > 0
    assert card.training["device"].startswith("CPU")
    assert all(figure["command"].startswith("python -m training evaluate") for figure in card.figures)


def test_the_report_has_every_part_and_asks_for_nothing_else(output: Path) -> None:
    report = json.loads((output / "evaluation" / "report.json").read_text(encoding="utf-8"))
    assert {bar["what"] for bar in report["bars"]}
    page = (output / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)


def test_the_generators_say_what_they_learnt_from(output: Path) -> None:
    about = json.loads((output / "generators" / "generators.json").read_text(encoding="utf-8"))
    assert set(about["generators"]) == {"pix2pix", "vae", "diffusion"}
    assert about["data"]["patients"]
