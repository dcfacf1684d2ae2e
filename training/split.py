"""The split by patient, made before any fake is."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from training.datasets import Sample

PARTS = ("train", "validation", "test")


class Splittable(Protocol):
    """What the split needs to know of an image; ``part`` isn't empty where the data set fixes it."""

    @property
    def patient(self) -> str:
        """Who is on the image, and on its near-duplicates."""

    @property
    def source(self) -> str:
        """The data set; each is split by itself."""

    @property
    def part(self) -> str:
        """The part that the data set's makers put it in, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three disjoint lists of samples; no patient is in two of them."""

    train: "tuple[Sample, ...]"
    validation: "tuple[Sample, ...]"
    test: "tuple[Sample, ...]"


def part_of_patients(
    images: Iterable[Splittable], *, seed: int = 1, pinned_to_test: Sequence[str] = ()
) -> dict[str, str]:
    """Gives each patient a part, 60/20/20 within each source, in an order fixed by a hash of (seed, patient).

    ``pinned_to_test`` names patients that are only ever tested on. A part that the data set fixes is kept; a patient
    whom it puts into two parts goes to the later one of train, validation, test.
    """
    images = list(images)
    part_of: dict[str, str] = {}
    for image in images:
        if image.part and PARTS.index(image.part) >= PARTS.index(part_of.get(image.patient, "train")):
            part_of[image.patient] = image.part
    part_of.update(dict.fromkeys(pinned_to_test, "test"))
    for source in sorted({image.source for image in images}):
        patients = sorted(
            {image.patient for image in images if image.source == source} - set(part_of),
            key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest(),
        )
        first, second = round(len(patients) * 0.6), round(len(patients) * 0.8)
        for number, patient in enumerate(patients):
            part_of[patient] = "train" if number < first else "validation" if number < second else "test"
    return part_of


def by_patient(samples: "Iterable[Sample]", *, seed: int = 1, pinned_to_test: Sequence[str] = ()) -> Split:
    """Splits samples 60/20/20 by patient within each source; see ``part_of_patients``."""
    samples = list(samples)
    part_of = part_of_patients(samples, seed=seed, pinned_to_test=pinned_to_test)
    return Split(**{name: tuple(each for each in samples if part_of[each.patient] == name) for name in PARTS})


def patients(samples: "Iterable[Splittable]") -> frozenset[str]:
    """The patients of some samples or records."""
    return frozenset(sample.patient for sample in samples)
