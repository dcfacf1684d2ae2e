"""`classify` reads compressed images by the limits of their kind, and says what a verdict rests on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medfake_pacs import cli
from medfake_pacs.classifier import load_bundle
from tests.unit.classifier_support import make_bundle, make_card

SCORES = [-200.0 + number for number in range(99)]


def _side(alpha: float, threshold: float) -> dict[str, Any]:
    return {
        "threshold": threshold, "alpha": alpha, "method": "rank", "count": 99, "patients": 99, "scores": SCORES
    }  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The configuration of a node whose one model calls every lossless image fake, and isn't calibrated for others."""
    reading = {"real": _side(0.01, SCORES[-1]), "fake": _side(0.1, SCORES[9])}
    folder = make_bundle(
        tmp_path / "models" / "small",
        pooling={"top_k_positions": 3, "contiguous_k": 1},
        domain=make_card("", 96, 32, 16)["domain"] | {"thumbnail_range": None},
    )
    card = json.loads((folder / "card.json").read_text())
    del card["thresholds"]
    (folder / "card.json").write_text(json.dumps(card | {"format": 2, "strata": {"lossless": {"image": reading}}}))
    path = tmp_path / "node.toml"
    path.write_text(
        f'[node]\nstate_dir = "{tmp_path / "state"}"\n[scoring]\nmodels_dir = "{tmp_path / "models"}"\n'
        "[models]\nprevalence = 0.001\n"
    )
    return path


def test_a_jpeg_is_of_another_kind_than_a_png(node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    picture = Image.fromarray(
        (127 + 60 * np.sin(np.arange(128) / 9)[:, None] + rng.normal(0, 9, (128, 128))).astype("u1")
    )
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.jpg", quality=90)
    arguments = ["classify", str(tmp_path / "a.png"), str(tmp_path / "b.jpg"), "--model", "small", "--json"]
    assert cli.main([*arguments, "--config", str(node)]) == 0
    png, jpeg = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (png["verdict"], jpeg["verdict"]) == ("fake", "indeterminate")
    assert jpeg["reason"] == "not calibrated for lossy CT images"
    assert (jpeg["probability_fake"], jpeg["probability_at_prevalence"]) == (None, None)
    assert png["prevalence"] == 0.001
    odds = png["probability_fake"] / (1 - png["probability_fake"]) / 999
    assert png["probability_at_prevalence"] == pytest.approx(odds / (1 + odds))
    assert png["calibration_sha256"] == load_bundle(tmp_path / "models" / "small").calibration_sha256
