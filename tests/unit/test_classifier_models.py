"""The bundles that are shipped: whole, small, documented, alike on both engines, and true to their domain."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medfake_pacs
from medfake_pacs.classifier import Bundle, Classifier, find_bundles
from medfake_pacs.classifier.anatomy import anatomy
from medfake_pacs.classifier.bundle import DOMAIN_PREFIX
from medfake_pacs.classifier.domain import DomainCheck
from medfake_pacs.entities import DecodedFrame
from medfake_pacs.pixels import load_raster
from medfake_pacs.pixels.preprocess import preparer
from tests.support import REPOSITORY, need_data
from training.configuration import read_configuration
from training.datasets import READERS, Sample
from training.domain import MIN_LUNG
from training.split import by_patient

MODELS = Path(medfake_pacs.__file__).parent / "models"
FOLDERS = {"lung-ct": "ct", "knee-xr": "xray_knee"}


@pytest.fixture(scope="module")
def bundles() -> dict[str, Bundle]:
    return {bundle.card.name: bundle for bundle in find_bundles(MODELS)}


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def held_out(request: pytest.FixtureRequest) -> tuple[str, tuple[Sample, ...]]:
    """A model's name and the real images of its test patients."""
    folder = need_data(FOLDERS[request.param])
    configuration = read_configuration(REPOSITORY / "training" / "configs" / f"{request.param}.toml")
    samples = READERS[configuration.reader](folder)
    split = by_patient(samples, seed=configuration.seed, pinned_to_test=configuration.pinned_to_test)
    # A slice without lung is outside the domain, as it should be.
    inside = (each for each in split.test if request.param != "lung-ct" or anatomy(each.image)["lung"] >= MIN_LUNG)
    return request.param, tuple(inside)


def test_the_models_are_there_small_and_documented(bundles: dict[str, Bundle]) -> None:
    assert set(bundles) == set(FOLDERS)
    for bundle in bundles.values():
        assert bundle.weights_path.stat().st_size <= 40_000_000
        assert len((bundle.directory / "README.md").read_text(encoding="utf-8")) > 1000
        assert bundle.card.data
        assert all(entry["licence"] for entry in bundle.card.data)
        assert bundle.card.figures
        assert all(figure["command"] for figure in bundle.card.figures)


def test_engines_agree_on_held_out_images(
    bundles: dict[str, Bundle], held_out: tuple[str, tuple[Sample, ...]], tmp_path: Path
) -> None:
    name, samples = held_out
    frames = [
        DecodedFrame(frame_number=number, values=sample.image, sha256="")
        for number, sample in enumerate(samples[:: max(1, len(samples) // 4)][:4], start=1)
    ]
    card = bundles[name].card
    probabilities = []
    for device in ("cpu", "torch-cpu"):
        classifier = Classifier(bundles[name], preparer=preparer, device=device, cache_dir=tmp_path)
        scores = classifier.score_frames(frames)
        assert not any(score.outside_domain for score in scores)
        logits = np.array([score.score for score in scores]) * card.calibration.slope + card.calibration.intercept
        probabilities.append(1 / (1 + np.exp(-logits)))
    # bfloat16 against float32: 0.0102 was the most that was seen.
    assert np.abs(np.subtract(*probabilities)).max() < 0.02


def test_held_out_images_are_inside_the_domain(
    bundles: dict[str, Bundle], held_out: tuple[str, tuple[Sample, ...]]
) -> None:
    name, samples = held_out
    check = DomainCheck(bundles[name].card.domain, bundles[name].tensors(DOMAIN_PREFIX))
    chosen = samples[:: max(1, len(samples) // 40)]
    refused = [(sample.name, check.objection(sample.image)) for sample in chosen if check.objection(sample.image)]
    assert not refused


def test_chest_radiographs_are_outside_the_other_domains_and_blanks_outside_all(bundles: dict[str, Bundle]) -> None:
    pictures = sorted(need_data("xray_chest").rglob("*.jpg"))[::40]
    checks = {name: DomainCheck(b.card.domain, b.tensors(DOMAIN_PREFIX)) for name, b in bundles.items()}
    chests = [load_raster(path)[1].values for path in pictures]
    small = [np.asarray(Image.fromarray(chest).resize((224, 224)), np.float32) for chest in chests]
    assert len(small) >= 10
    assert np.mean([bool(checks["knee-xr"].objection(chest)) for chest in small]) > 0.8
    assert all(checks["lung-ct"].objection(chest) for chest in chests)
    for check in checks.values():
        assert "blank" in check.objection(np.full((224, 224), 100, np.float32))
