"""A planted shortcut is found by the probe that it belongs to, and by no other; without one, all are near chance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from training import probes
from training.datasets import Sample
from training.degrade import jpeg
from training.probes import ProbeResult
from training.probes.result import Scores, bootstrapped, changed, measured, measured_often

Array = npt.NDArray[np.float32]
SIDE = 96
OWN = "the data set's own fakes"


def picture(number: int) -> Array:
    """A smooth made-up radiograph with grain, whole numbers, 10 and 240 its lowest and highest values."""
    rng = np.random.default_rng(number)
    smooth = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 12)
    grey = 125 + 60 * smooth / np.abs(smooth).max() + rng.normal(0, 4, (SIDE, SIDE))
    grey[0, :2] = 10, 240
    return np.rint(np.clip(grey, 10, 240)).astype(np.float32)


def edited(image: Array, mask: Array) -> Array:
    """The image with its edited place mirrored: the values stay what they are."""
    place = np.ix_(mask.any(axis=1), mask.any(axis=0))
    result = image.copy()
    result[place] = result[place][:, ::-1]
    return result


def samples(count: int = 40) -> list[Sample]:
    """Real images of some patients and honest fakes of others."""
    result = []
    for number in range(count):
        fake = number % 2 == 1
        mask = np.zeros((SIDE, SIDE), np.float32)
        top, left = np.random.default_rng((number, 1)).integers(24, 48, 2)
        mask[top : top + 20, left : left + 20] = 1
        image = picture(number)
        result.append(
            Sample(
                image=edited(image, mask) if fake else image,
                patient=f"p{number}",
                source="made up",
                name=str(number),
                label="fake" if fake else "real",
                mask=mask if fake else None,
                stored={"rows": SIDE, "manufacturer": ("A", "B")[number // 2 % 2]},
            )
        )
    return result


def planted(change: Mapping[str, object] | None = None, image: object = None) -> list[Sample]:
    """The samples with something changed in every fake."""
    result = []
    for sample in samples():
        if sample.label == "fake":
            sample = replace(sample, **(change or {}))  # type: ignore[arg-type]
            if callable(image):
                sample = replace(sample, image=image(sample.image))
        result.append(sample)
    return result


def found(result: Sequence[ProbeResult]) -> set[str]:
    """The kinds of probes that are not near chance."""
    return {probe.name.split(",")[0] for probe in result if not probe.near_chance}


@pytest.fixture(scope="module")
def honest() -> list[ProbeResult]:
    return probes.run_on(samples(), rounds=200)


def test_without_a_shortcut_every_probe_is_near_chance(honest: list[ProbeResult]) -> None:
    kinds = {probe.name.split(",")[0] for probe in honest}
    assert kinds == {
        "metadata only", "histogram only", "8-px grid only", "thumbnail", "box masked out", "border only",
    }  # fmt: skip
    assert found(honest) == set()
    assert all(probe.low <= probe.auc <= probe.high and probe.patients == 40 for probe in honest)


def test_fakes_that_are_a_grey_level_brighter_are_found_by_their_range() -> None:
    result = probes.run_on(planted(image=lambda image: image + 1), rounds=200)
    assert "metadata only" in found(result)
    assert "box masked out" in found(result)
    assert "thumbnail" not in found(result)


def test_a_stored_fact_that_differs_is_found_by_the_metadata_alone() -> None:
    result = probes.run_on(planted({"stored": {"rows": SIDE, "manufacturer": "C"}}), rounds=200)
    assert found(result) >= {"metadata only"}
    assert not found(result) & {"histogram only", "8-px grid only", "thumbnail"}


def test_fakes_that_went_through_another_codec_are_found_by_the_grid() -> None:
    result = probes.run_on(planted(image=lambda image: jpeg(image, 60)), rounds=200)
    assert "8-px grid only" in found(result)
    assert "border only" in found(result)


def test_clipped_values_are_found_by_the_histogram() -> None:
    result = probes.run_on(planted(image=lambda image: np.minimum(image, 180)), rounds=200)
    assert "histogram only" in found(result)


def test_an_honest_interval_holds_chance_and_a_better_one_does_not() -> None:
    rng = np.random.default_rng(3)
    names = [f"p{number}" for number in range(60)]
    real, fake = rng.normal(0, 1, 60).tolist(), rng.normal(0, 1, 60).tolist()
    same = Scores(real=real, real_patients=names, fake=fake, fake_patients=names)
    better = replace(same, fake=[value + 1 for value in fake])
    worse = replace(same, fake=[value - 1 for value in fake])
    assert measured("", "", same, rounds=300, seed=0).near_chance
    assert not measured("", "", better, rounds=300, seed=0).near_chance
    assert not measured("", "", worse, rounds=300, seed=0).near_chance
    assert measured_often("", "", [worse], rounds=300, seed=0).near_chance
    assert changed("", "", same, same, rounds=300, seed=0).near_chance
    assert not changed("", "", same, better, rounds=300, seed=0).near_chance


def test_whole_patients_are_drawn() -> None:
    """Forty images of one patient say as little as one: the interval is that of two patients."""
    names = ["a"] * 40 + ["b"] * 40
    scores = Scores(real=[0.0] * 80, real_patients=names, fake=[1.0] * 40 + [-1.0] * 40, fake_patients=names)
    drawn = bootstrapped(scores, rounds=400, seed=0)
    assert set(np.round(drawn, 6).tolist()) == {0.0, 0.5, 1.0}
