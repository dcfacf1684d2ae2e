"""Bundles: what is damaged, swapped, mistyped or pickled is refused with the reason."""

import io
import json
from pathlib import Path

import pytest
import torch

from medfake_pacs.classifier import find_bundles, load_bundle
from medfake_pacs.errors import BundleError
from tests.unit.classifier_support import make_bundle


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "models" / "small")


def change_card(directory: Path, **changes: object) -> None:
    path = directory / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_whole_bundle_loads(directory: Path) -> None:
    bundle = load_bundle(directory)
    assert (bundle.card.name, bundle.card.tile.size, bundle.card.pooling.contiguous_k) == ("small", 96, 3)
    assert [found.card.name for found in find_bundles(directory.parent)] == ["small"]


def test_one_flipped_bit_in_the_weights_is_refused(directory: Path) -> None:
    path = directory / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="SHA-256"):
        load_bundle(directory)


def test_a_pickle_is_refused_even_with_the_right_digest(directory: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"classifier.weight": torch.zeros(1)}, buffer)
    (directory / "weights.safetensors").write_bytes(buffer.getvalue())
    import hashlib

    change_card(directory, weights_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
    with pytest.raises(BundleError, match="weights"):
        load_bundle(directory)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"colour": "blue"}, "colour"),
        ({"format": 2}, "format 2"),
        ({"thresholds": {"real_below": 0.9, "fake_above": 0.1}}, "real_below"),
        ({"tile": {"size": 100, "overlap": 0}}, "multiples of 32"),
        ({"pooling": {"top_k_positions": "many", "contiguous_k": 1}}, "top_k_positions"),
    ],
)
def test_a_card_that_is_wrong_is_refused_by_name(directory: Path, changes: dict[str, object], names: str) -> None:
    change_card(directory, **changes)
    with pytest.raises(BundleError, match=names):
        load_bundle(directory)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(directory)


def test_two_bundles_of_one_name_are_refused(directory: Path) -> None:
    make_bundle(directory.parent / "other")
    with pytest.raises(BundleError, match="two bundles"):
        find_bundles(directory.parent)


def test_the_digest_covers_what_a_score_depends_on(directory: Path) -> None:
    before = load_bundle(directory).model_sha256
    change_card(directory, description="other words")
    assert load_bundle(directory).model_sha256 == before
    change_card(directory, pooling={"top_k_positions": 4, "contiguous_k": 3})
    assert load_bundle(directory).model_sha256 != before
