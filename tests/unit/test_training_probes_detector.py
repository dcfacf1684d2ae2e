"""Probes of a detector on forged pairs: a detector that reads the codec is told from one that doesn't."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.support import REPOSITORY
from tests.unit.test_training_probes import picture
from training import probes
from training.configuration import read_configuration
from training.datasets import Sample
from training.forge import Forge, reconstruct
from training.forge.site import highpass
from training.setting import Setting
from training.split import by_patient

Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def setting() -> Setting:
    knee = read_configuration(REPOSITORY / "training" / "configs" / "knee-xr.toml")
    configuration = replace(knee, families=("noise", "upsample"), held_out_families=("copymove",))
    split = by_patient(
        Sample(image=picture(number), patient=f"p{number}", source="made up", name=f"{number}") for number in range(40)
    )
    codec = reconstruct.fit([sample.image for sample in split.train], np.random.default_rng(0), count=200)
    return Setting(configuration=configuration, split=split, forge=Forge(codec))


class Indifferent:
    """Always the same answer."""

    name = "indifferent"

    def score(self, images: Sequence[Array]) -> list[float]:
        return [0.0 for _ in images]


class ReadsGrain:
    """Calls fake what has little grain: compression takes grain away."""

    name = "grain"

    def score(self, images: Sequence[Array]) -> list[float]:
        return [-float(np.abs(highpass(image)).mean()) for image in images]


@pytest.fixture(scope="module")
def of_grain(setting: Setting) -> dict[str, probes.ProbeResult]:
    return {probe.name: probe for probe in probes.run(setting, ReadsGrain(), images=32, rounds=100)}


def test_a_detector_that_reads_the_codec_is_found(of_grain: dict[str, probes.ProbeResult]) -> None:
    alone = of_grain["codec alone: real uncompressed, the same JPEG q90"]
    assert alone.auc > 0.5
    assert not alone.near_chance
    swapped = of_grain["codec swap: real JPEG q90, fake uncompressed"]
    assert not swapped.near_chance
    assert "with one codec for both classes" in swapped.what


def test_an_edit_that_is_hidden_tells_nothing(of_grain: dict[str, probes.ProbeResult]) -> None:
    hidden = [probe for name, probe in of_grain.items() if name.startswith(("box masked out", "border only"))]
    assert {name.rsplit(", ", 1)[1] for name in (probe.name for probe in hidden)} == {
        "a small classifier",
        "the detector",
    }
    assert all(probe.near_chance for probe in hidden)


def test_an_indifferent_detector_is_at_chance_everywhere(setting: Setting) -> None:
    result = probes.run(setting, Indifferent(), images=16, rounds=50)
    of_detector = [probe for probe in result if "detector" in probe.name or "codec" in probe.name]
    assert len(of_detector) == 5
    assert all(probe.auc == 0.5 and probe.near_chance for probe in of_detector)


def test_the_same_seed_gives_the_same_results(setting: Setting) -> None:
    few = replace(setting, configuration=replace(setting.configuration, families=("upsample",), held_out_families=()))
    first, again = (probes.run(few, images=12, rounds=50, seed=4) for _ in range(2))
    assert first
    assert first == again


def test_each_family_can_be_asked_alone(setting: Setting) -> None:
    names = {probe.name.split(", ")[1] for probe in probes.run_by_family(setting, images=8, rounds=20)}
    assert names == {"noise", "copymove", "upsample"}
