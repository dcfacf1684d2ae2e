"""The split: by patient, before any fake, the same every time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import REPOSITORY, need_data
from training.configuration import read_configuration
from training.datasets import READERS, Sample
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
