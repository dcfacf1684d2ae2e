"""Scoring: both engines agree, order is kept, and what is outside the domain isn't run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medfake_pacs.classifier import Classifier, load_bundle
from medfake_pacs.classifier.scoring import pooled, regions
from medfake_pacs.entities import DecodedFrame
from medfake_pacs.errors import BundleError
from medfake_pacs.pixels.preprocess import preparer
from tests.support import REPOSITORY
from tests.unit.classifier_support import frame, make_bundle

SIZES = [(96, 96), (70, 130), (200, 260), (64, 64), (96, 97)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def engines(directory: Path, cache: Path) -> dict[str, Classifier]:
    bundle = load_bundle(directory)
    return {
        device: Classifier(bundle, preparer=preparer, device=device, threads=1, cache_dir=cache)
        for device in ("cpu", "torch-cpu")
    }


def probability(score: float) -> float:
    return float(1 / (1 + np.exp(-score)))


def test_openvino_and_torch_agree(engines: dict[str, Classifier]) -> None:
    frames = [frame(*size, seed=seed) for seed, size in enumerate(SIZES)]
    scores = {device: engine.score_frames(frames) for device, engine in engines.items()}
    assert engines["cpu"].engine.startswith("openvino-")
    assert engines["torch-cpu"].engine == "torch-cpu"
    for ours, theirs in zip(scores["cpu"], scores["torch-cpu"], strict=True):
        assert probability(ours.score) == pytest.approx(probability(theirs.score), abs=0.01)
    assert len({round(score.score, 3) for score in scores["torch-cpu"]}) == len(SIZES)


def test_order_and_company_do_not_matter(engines: dict[str, Classifier]) -> None:
    frames = [frame(*size, seed=seed) for seed, size in enumerate(SIZES)]
    together = engines["cpu"].score_frames(frames)
    assert [score.frame_number for score in together] == [one.frame_number for one in frames]
    alone = [engines["cpu"].score_frames([one])[0].score for one in reversed(frames)]
    assert [score.score for score in together] == pytest.approx(alone[::-1])


def test_a_cached_model_needs_no_torch(engines: dict[str, Classifier], directory: Path, cache: Path) -> None:
    assert engines["cpu"].engine.startswith("openvino-")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from medfake_pacs.classifier import Classifier, load_bundle\n"
        "from medfake_pacs.pixels.preprocess import preparer\n"
        "Classifier(load_bundle(sys.argv[1]), preparer=preparer, device='cpu', cache_dir=Path(sys.argv[2]))\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, str(directory), str(cache)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_cached_model_is_not_taken_for_that_of_another_network(
    engines: dict[str, Classifier], directory: Path, cache: Path, tmp_path: Path
) -> None:
    """The same weights with a card that names larger cells: they don't fit, also where others' model is cached."""
    assert engines["cpu"].engine.startswith("openvino-")
    card = json.loads((directory / "card.json").read_text(encoding="utf-8"))
    card["network"]["cell_px"] = 32
    (tmp_path / "card.json").write_text(json.dumps(card), encoding="utf-8")
    shutil.copyfile(directory / "weights.safetensors", tmp_path / "weights.safetensors")
    with pytest.raises(BundleError):
        Classifier(load_bundle(tmp_path), preparer=preparer, device="cpu", threads=1, cache_dir=cache)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((96, 96), -1000.0), "blank"),
        (np.zeros((32, 200)), "shorter side 32"),
        (np.zeros((100, 500)), "longer side 500"),
        (np.full((96, 96), np.nan), "not finite"),
    ],
)
def test_a_frame_outside_the_domain_is_not_scored(
    engines: dict[str, Classifier], values: np.ndarray, reason: str
) -> None:
    odd = DecodedFrame(frame_number=1, values=values.astype(np.float32), sha256="")
    first, second = engines["torch-cpu"].score_frames([odd, frame(96, 96, seed=3)])
    assert reason in first.outside_domain
    assert first.score == 0
    assert not first.regions
    assert not first.tiles
    assert second.outside_domain == ""
    assert second.score == engines["torch-cpu"].score_frames([frame(96, 96, seed=3)])[0].score


def test_an_unknown_device_is_refused(directory: Path, cache: Path) -> None:
    with pytest.raises(BundleError, match="abacus"):
        Classifier(load_bundle(directory), preparer=preparer, device="abacus", cache_dir=cache)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    directory = make_bundle(tmp_path / "small", network={"backbone": "test_efficientnet", "in_channels": 3})
    with pytest.raises(BundleError, match="weights"):
        Classifier(load_bundle(directory), preparer=preparer, device="torch-cpu", cache_dir=tmp_path)


def test_a_scored_frame_keeps_its_map(engines: dict[str, Classifier]) -> None:
    """Kept cells are 32 pixels wide, each the highest of the network's; one that is half in the frame counts."""
    tall = frame(200, 260, seed=2)
    (scored,) = engines["torch-cpu"].score_frames([tall])
    expected = engines["torch-cpu"].maps([tall.values])[0]
    assert expected.shape == (13, 16)
    highest = np.pad(expected, ((0, 1), (0, 0)), constant_values=-np.inf).reshape(7, 2, 8, 2).max(axis=(1, 3))
    assert np.asarray(scored.tiles) == pytest.approx(highest, abs=0.00501)
    assert pooled(expected, engines["torch-cpu"].card.pooling.top_k_positions) == pytest.approx(scored.score)


def test_regions_are_the_hot_cells_and_stay_in_the_frame(directory: Path) -> None:
    card = load_bundle(directory).card
    logits = np.full((4, 5), -2.0, np.float32)
    logits[1, 1:3] = (1.0, 3.0)
    logits[3, 4] = 2.0
    found = regions(logits, (60, 75), card)
    assert [(region.x, region.y, region.width, region.height) for region in found] == [
        (16, 16, 32, 16),
        (64, 48, 11, 12),
    ]
    assert [region.score for region in found] == [3.0, 2.0]


def test_pooling_is_the_mean_of_the_highest() -> None:
    logits = np.array([[1.0, 5.0], [3.0, -9.0]], np.float32)
    assert pooled(logits, 2) == 4.0
    assert pooled(logits, 9) == 0.0
