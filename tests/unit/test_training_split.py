"""The split: by patient, before any fake, the same every time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import REPOSITORY, need_data
from tests.unit.datasets_support import pattern, write_csv, write_raster
from training.configuration import read_configuration
from training.datasets import READERS, Sample
from training.forge.site import Array, Site
from training.setting import make_setting
from training.split import by_patient, patients

CONFIGS = REPOSITORY / "training" / "configs"


def samples(counts: list[int], sources: int) -> list[Sample]:
    image = np.zeros((4, 4), np.float32)
    return [
        Sample(image=image, patient=f"p{number}", source=f"s{number % sources}", name=f"{number}-{copy}")
        for number, count in enumerate(counts)
        for copy in range(count)
    ]


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=60), sources=st.integers(1, 3), seed=st.integers(0, 9))
def test_no_patient_is_in_two_parts_and_none_is_lost(counts: list[int], sources: int, seed: int) -> None:
    everything = samples(counts, sources)
    split = by_patient(everything, seed=seed, pinned_to_test=["p0"])
    parts = [patients(part) for part in (split.train, split.validation, split.test)]
    assert sum(len(part) for part in parts) == len(counts)
    assert frozenset().union(*parts) == patients(everything)
    assert "p0" in parts[2]
    assert len(split.train) + len(split.validation) + len(split.test) == len(everything)


def test_the_split_does_not_depend_on_the_order_of_files() -> None:
    everything = samples([2] * 50, 2)
    forwards, backwards = by_patient(everything), by_patient(everything[::-1])
    assert patients(forwards.test) == patients(backwards.test)
    assert len(patients(forwards.train)) == 30
    assert len(patients(forwards.validation)) == 10


def test_the_real_lung_data_is_split_by_patient_and_the_volume_is_only_tested_on() -> None:
    folder = need_data("ct")
    configuration = read_configuration(CONFIGS / "lung-ct.toml")
    split = by_patient(READERS["ct"](folder), seed=configuration.seed, pinned_to_test=configuration.pinned_to_test)
    train, validation, test = (patients(part) for part in (split.train, split.validation, split.test))
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert min(len(train), len(validation), len(test)) >= 10
    assert "Lung_Dx-A0001" in test


def test_a_part_that_the_data_set_fixes_is_kept_and_a_pinned_patient_is_tested_on() -> None:
    everything = [replace(each, part="validation") for each in samples([1] * 10, 1)]
    split = by_patient(everything, pinned_to_test=["p3"])
    assert patients(split.test) == {"p3"}
    assert len(patients(split.validation)) == 9


def knees(folder: Path, seeds: list[int]) -> Path:
    """A folder of knee radiographs, one of each patient, that are drawn from ``seeds``."""
    rows = []
    for number, seed in enumerate(seeds):
        write_raster(pattern(seed, 224), folder / "xray_knee" / f"{number}.png")
        rows.append(("curated", "made", f"xray_knee/{number}.png", number))
    write_csv(folder / "xray_knee" / "index.csv", "split,source,file,group", rows)
    return folder


def test_the_forge_knows_training_patients_alone(tmp_path: Path) -> None:
    configuration = read_configuration(CONFIGS / "knee-xr.toml")
    assert configuration.reader == "knee"
    seeds = list(range(20))
    data = knees(tmp_path / "a", seeds)
    split = by_patient(READERS["knee"](data / configuration.folder), seed=configuration.seed)
    learnt = {int(each.name.split("/")[1].removesuffix(".png")) for each in split.train}
    assert len(learnt) == 12
    unlearnt = [seed if number in learnt else 1000 + seed for number, seed in enumerate(seeds)]
    changed = [1000 + seed if number in learnt else seed for number, seed in enumerate(seeds)]

    def forged(folder: Path) -> Array:
        image = pattern(7, 96)
        mask = np.zeros_like(image)
        mask[30:60, 30:60] = 1
        site = Site(image=image, mask=mask, donor=image, sigma=2.0, spread=80.0)
        return make_setting(configuration, folder).forge.any_of(["reconstruct"], site, np.random.default_rng(3)).image

    mine = forged(data)
    assert np.array_equal(mine, forged(knees(tmp_path / "b", unlearnt))), "other patients change nothing"
    assert not np.array_equal(mine, forged(knees(tmp_path / "c", changed))), "training patients do"
