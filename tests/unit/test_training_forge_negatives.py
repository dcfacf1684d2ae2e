"""Hard negatives: honest processing of whole images, each kind what it says."""

import numpy as np
import pytest

from tests.unit.test_training_forge import picture
from training.forge.negatives import KINDS, negative
from training.forge.site import Array, noise_sigma

WHOLE_IMAGE = ("blur", "sharpen", "denoise", "noise", "resample", "gain", "codec")


def grey(seed: int) -> Array:
    return np.clip(picture(seed) / 5 + 220, 0, 255).round()


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("hounsfield", [True, False])
def test_a_negative_keeps_shape_type_and_depth(kind: str, hounsfield: bool) -> None:
    image = picture(1) if hounsfield else grey(1)
    for seed in range(4):
        before = image.copy()
        result = negative(image, np.random.default_rng(seed), hounsfield=hounsfield, kinds=[kind])
        again = negative(image, np.random.default_rng(seed), hounsfield=hounsfield, kinds=[kind])
        assert np.array_equal(result, again)
        assert np.array_equal(image, before)
        assert result.dtype == np.float32
        assert result.shape == image.shape
        assert np.array_equal(result, np.rint(result))
        low, high = (-1024, 3071) if hounsfield else (0, 255)
        assert low <= result.min()
        assert result.max() <= high
        assert np.array_equal(result, image) is (kind == "identity")


@pytest.mark.parametrize("kind", WHOLE_IMAGE)
def test_whole_image_processing_favours_no_place(kind: str) -> None:
    image = picture(2)
    for seed in range(3):
        change = np.abs(negative(image, np.random.default_rng(seed), hounsfield=True, kinds=[kind]) - image)
        quarters = [part.mean() for half in np.split(change, 2) for part in np.split(half, 2, axis=1)]
        assert min(quarters) > 0.6 * max(quarters) > 0


@pytest.mark.parametrize("kind", ["text", "marker"])
def test_marks_stand_out_and_leave_the_rest(kind: str) -> None:
    image = picture(3)
    for seed in range(6):
        result = negative(image, np.random.default_rng(seed), hounsfield=True, kinds=[kind])
        changed = result != image
        assert 0 < changed.mean() < 0.4
        assert np.abs(result - image).max() > 3 * noise_sigma(image)


def test_a_border_is_flat() -> None:
    image = picture(4)
    result = negative(image, np.random.default_rng(1), hounsfield=True, kinds=["border"])
    assert (result[result != image] == image.min()).all()


def test_a_window_leaves_256_steps() -> None:
    result = negative(picture(5), np.random.default_rng(0), hounsfield=True, kinds=["window"])
    assert np.unique(result).size <= 256


def test_all_kinds_are_drawn_and_unknown_ones_refused() -> None:
    image, rng = picture(6, side=64), np.random.default_rng(0)
    kept = sum(np.array_equal(negative(image, rng, hounsfield=True), image) for _ in range(120))
    assert 2 <= kept <= 25
    with pytest.raises(KeyError, match="hologram"):
        negative(image, rng, hounsfield=True, kinds=["hologram"])
