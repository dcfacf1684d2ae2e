"""What training and evaluation share: the split data, and the forge fitted to training patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.configuration import Configuration
from training.datasets import READERS
from training.forge import Family, Forge, reconstruct
from training.generators import check_unseen, load
from training.generators.store import split_digest
from training.provenance import variants
from training.sampling import LEAST_SIDE_PX, PairSampler
from training.split import PARTS, Split, by_patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A configuration with its data: the split comes first, the forge sees training patients alone."""

    configuration: Configuration
    split: Split
    forge: Forge

    def sampler(self, part: str) -> PairSampler:
        """The pairs of one part of the split."""
        configuration = self.configuration
        return PairSampler(
            getattr(self.split, part),
            self.forge,
            configuration.preprocessing,
            configuration.sampling,
            cell_px=configuration.cell_px,
        )

    @property
    def split_sha256(self) -> str:
        """Which patients are trained on: SHA-256 over their digests."""
        return split_digest(sample.patient for sample in self.split.train)

    def available(self, families: tuple[str, ...]) -> tuple[str, ...]:
        """Those families that the forge can make: learned ones need their generators."""
        return tuple(family for family in families if family in self.forge.families)


def make_setting(configuration: Configuration, data: Path, generators: Path | None = None) -> Setting:
    """Reads the images under ``data``, splits them by patient, and only then fits the forge.

    ``generators`` holds what `python -m training generators` made of the same data.

    Raises: ValueError where the generators learnt from patients of the validation or test part, a part is empty, or an
    image is smaller than the crops.
    """
    samples = READERS[configuration.reader](data / configuration.folder)
    split = by_patient(samples, seed=configuration.seed, pinned_to_test=configuration.pinned_to_test)
    parts = {
        name: tuple(
            variant
            for sample in getattr(split, name)
            if sample.label == "real"
            for variant in variants(sample, scale=configuration.scale, requantise=configuration.requantise)
        )
        for name in PARTS
    }
    split = Split(**parts)
    _check(configuration, split)
    learned: Mapping[str, Family] = {}
    if generators is not None:
        check_unseen(generators, {sample.patient for sample in (*split.validation, *split.test)})
        learned = load(generators)
    rng = np.random.default_rng(configuration.seed)
    codec = reconstruct.fit([sample.image for sample in split.train], rng)
    return Setting(configuration=configuration, split=split, forge=Forge(codec, learned))


def _check(configuration: Configuration, split: Split) -> None:
    for name in PARTS:
        if not getattr(split, name):
            raise ValueError(
                f"{configuration.name}: no real image is in the {name} part; a split by patient needs at least five"
            )
    training = configuration.training
    least = max(LEAST_SIDE_PX, training.validation_px, *(side for _, side in training.phases))
    small = [sample for name in PARTS for sample in getattr(split, name) if min(sample.image.shape) < least]
    if small:
        raise ValueError(
            f"{configuration.name}: {len(small)} images have a side below {least} px, which the largest crop needs "
            f"(phases, validation_px); the first is {small[0].name} with {' x '.join(map(str, small[0].image.shape))}"
        )
