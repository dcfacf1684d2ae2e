"""Each image takes part as published and cleaned; what tells the source is gone from the second."""

import numpy as np
import pytest

from tests.unit.test_training_forge import picture
from training.datasets import Sample
from training.degrade import jpeg
from training.provenance import CLEANED, variants


def sample(image: np.ndarray, **changes: object) -> Sample:
    """One image of one patient."""
    return Sample(image=image.astype(np.float32), patient="p", source="made up", name="one", **changes)  # type: ignore[arg-type]


def grey() -> np.ndarray:
    """A picture at eight bits."""
    values = picture(5, side=256)
    return np.rint((values - values.min()) / np.ptp(values) * 255)


def border_step(image: np.ndarray) -> float:
    """The step across every eighth column, over the mean step."""
    steps = np.abs(np.diff(image, axis=1)).mean(axis=0)
    return float(steps[7::8].mean() / steps.mean())


def test_nothing_to_take_away_leaves_one_image() -> None:
    one = sample(grey())
    assert variants(one, scale=1.0, requantise=False) == (one,)


def test_the_borders_of_a_codec_are_gone() -> None:
    published, cleaned = variants(sample(jpeg(grey(), 60), lossy=True), scale=0.8, requantise=True)
    assert published.lossy
    assert not cleaned.lossy
    assert (published.patient, published.name + CLEANED) == (cleaned.patient, cleaned.name)
    assert border_step(published.image) > 1.15
    assert border_step(cleaned.image) == pytest.approx(1.0, abs=0.1)


def test_the_gaps_of_a_stretched_histogram_are_gone() -> None:
    stretched = np.rint(np.rint(grey() / 2) * 2)
    published, cleaned = variants(sample(stretched), scale=1.0, requantise=True)
    assert (published.image % 2 == 0).all()
    assert (cleaned.image % 2 == 0).mean() == pytest.approx(0.5, abs=0.05)
    assert cleaned.image.min() >= 0
    assert np.array_equal(cleaned.image, np.rint(cleaned.image))


def test_cleaning_is_the_same_every_time() -> None:
    first, second = (variants(sample(grey()), scale=0.8, requantise=True)[1] for _ in range(2))
    assert np.array_equal(first.image, second.image)
