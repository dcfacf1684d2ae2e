"""The baselines on small made-up radiographs: they run from end to end, and what is saved scores alike."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import REPOSITORY
from tests.unit.test_training_probes import picture
from training.baselines import (
    Detector,
    fit_residual_statistics,
    load_plain224,
    load_residual_statistics,
    train_plain224,
)
from training.baselines.plain_input import as_input, augmented, small, window_of
from training.baselines.ranking import area
from training.baselines.turns import in_turn
from training.configuration import read_configuration
from training.datasets import Sample
from training.forge import Forge, reconstruct
from training.setting import Setting
from training.split import by_patient


@pytest.fixture(scope="module")
def setting() -> Setting:
    knee = read_configuration(REPOSITORY / "training" / "configs" / "knee-xr.toml")
    configuration = replace(knee, backbone="test_efficientnet", families=("noise", "upsample"), held_out_families=())
    split = by_patient(
        Sample(image=picture(number), patient=f"p{number}", source="made up", name=f"{number}") for number in range(30)
    )
    codec = reconstruct.fit([sample.image for sample in split.train], np.random.default_rng(0), count=200)
    return Setting(configuration=configuration, split=split, forge=Forge(codec))


def real_and_fake(setting: Setting, family: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(5)
    sampler = setting.sampler("test")
    real = [sample.image for sample in setting.split.test]
    return real, [sampler.forge_image(number, family, rng).image for number in range(len(real))]


def test_residual_statistics_tell_redrawn_images_of_other_patients(setting: Setting, tmp_path: Path) -> None:
    detector: Detector = fit_residual_statistics(setting, images=36, output=tmp_path)
    real, fake = real_and_fake(setting, "upsample")
    assert area(detector.score(real), detector.score(fake)) > 0.8
    assert load_residual_statistics(tmp_path).score(real) == detector.score(real)
    again = fit_residual_statistics(setting, images=36)
    assert again.score(fake) == detector.score(fake)


def test_a_folder_of_another_version_is_refused(setting: Setting, tmp_path: Path) -> None:
    fit_residual_statistics(setting, images=4, output=tmp_path)
    about = tmp_path / "residual-statistics.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"features": 3}))
    with pytest.raises(ValueError, match="another version"):
        load_residual_statistics(tmp_path)


def test_the_plain_network_trains_within_its_images_and_is_loaded_alike(setting: Setting, tmp_path: Path) -> None:
    detector: Detector = train_plain224(setting, tmp_path, 3600.0, device="cpu", images_budget=64)
    about = json.loads((tmp_path / "plain224.json").read_text())
    assert about["images_seen"] == 64
    assert about["steps"] == 4
    assert [entry["step"] for entry in about["history"]] == [1, 2, 3, 4]
    real, fake = real_and_fake(setting, "upsample")
    scores = detector.score([*real, *fake])
    assert len(set(scores)) > 4
    assert load_plain224(tmp_path, device="cpu").score([*real, *fake]) == scores


def test_a_run_that_is_taken_up_again_ends_as_one_that_was_not(setting: Setting, tmp_path: Path) -> None:
    whole = train_plain224(setting, tmp_path / "whole", 3600.0, device="cpu", images_budget=48)
    interrupt(setting, tmp_path / "parts", steps=2)
    parts = train_plain224(setting, tmp_path / "parts", 3600.0, device="cpu", images_budget=48)
    real, _ = real_and_fake(setting, "noise")
    assert parts.score(real) == whole.score(real)


def interrupt(setting: Setting, output: Path, *, steps: int) -> None:
    """Ends a run of 48 images by an error after so many steps."""
    from training.baselines import plain_training

    trainer = plain_training.PlainTrainer(setting, output, budget_s=3600.0, images_budget=48, device="cpu")
    step, done = trainer._step, [0]

    def limited() -> float:
        if done[0] == steps:
            raise KeyboardInterrupt
        done[0] += 1
        return step()

    trainer._step = limited  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


def test_a_budget_that_is_spent_trains_no_further(setting: Setting, tmp_path: Path) -> None:
    train_plain224(setting, tmp_path, 3600.0, device="cpu", images_budget=16)
    before = (tmp_path / "plain224.safetensors").read_bytes()
    train_plain224(setting, tmp_path, 3600.0, device="cpu", images_budget=16)
    assert (tmp_path / "plain224.safetensors").read_bytes() == before


def test_the_plain_input_is_one_window_of_eight_bits_at_224_px(setting: Setting) -> None:
    window = window_of(setting.configuration.preprocessing)
    assert [channel.kind for channel in window.channels] == ["window"]
    seen = small(picture(1), window)
    assert (seen.shape, seen.dtype) == ((224, 224), np.uint8)
    turned = augmented(as_input(np.stack([seen] * 3)), np.random.default_rng(0))
    assert turned.shape == (3, 1, 224, 224)
    assert float(turned.abs().max()) <= 1
    assert not np.array_equal(turned[0], turned[1])


@pytest.mark.parametrize(("count", "most"), [(3, 1), (5, 2), (9, 4)])
def test_patients_take_turns(count: int, most: int) -> None:
    patients: Sequence[str] = ["a"] * 6 + ["b"] * 2 + ["c"]
    taken = [patients[number] for number in in_turn(patients, count, np.random.default_rng(0))]
    assert len(taken) == count
    assert taken.count("a") <= max(most, count - 3)
    assert set(taken) == {"a", "b", "c"}
