"""The split by patient, made before any fake is."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.datasets import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three disjoint lists of samples; no patient is in two of them."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]


def by_patient(samples: Iterable[Sample], *, seed: int = 1, pinned_to_test: Sequence[str] = ()) -> Split:
    """Splits 60/20/20 by patient within each source, in an order fixed by a hash of (seed, patient).

    ``pinned_to_test`` names patients that are only ever tested on.
    """
    samples = list(samples)
    part_of: dict[str, str] = {}
    for source in sorted({sample.source for sample in samples}):
        patients = sorted(
            {sample.patient for sample in samples if sample.source == source} - set(pinned_to_test) - set(part_of),
            key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest(),
        )
        first, second = round(len(patients) * 0.6), round(len(patients) * 0.8)
        for number, patient in enumerate(patients):
            part_of[patient] = "train" if number < first else "validation" if number < second else "test"
    part_of.update(dict.fromkeys(pinned_to_test, "test"))
    parts = {
        name: tuple(sample for sample in samples if part_of[sample.patient] == name)
        for name in ("train", "validation", "test")
    }
    return Split(**parts)


def patients(samples: Iterable[Sample]) -> frozenset[str]:
    """The patients of some samples."""
    return frozenset(sample.patient for sample in samples)
