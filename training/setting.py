"""What training and evaluation share: the split data, and the forge fitted to training patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.configuration import Configuration
from training.datasets import READERS
from training.forge import Family, Forge, reconstruct
from training.generators import check_unseen, load
from training.provenance import cleaned
from training.sampling import PairSampler
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

    def available(self, families: tuple[str, ...]) -> tuple[str, ...]:
        """Those families that the forge can make: learned ones need their generators."""
        return tuple(family for family in families if family in self.forge.families)


def make_setting(configuration: Configuration, data: Path, generators: Path | None = None) -> Setting:
    """Reads the images under ``data``, splits them by patient, and only then fits the forge.

    ``generators`` holds what `python -m training generators` made of the same data.

    Raises: ValueError where the generators learnt from patients of the validation or test part.
    """
    samples = READERS[configuration.reader](data / configuration.folder)
    split = by_patient(samples, seed=configuration.seed, pinned_to_test=configuration.pinned_to_test)
    parts = {
        name: tuple(
            cleaned(sample, scale=configuration.scale, requantise=configuration.requantise)
            for sample in getattr(split, name)
            if sample.label == "real"
        )
        for name in PARTS
    }
    split = Split(**parts)
    learned: Mapping[str, Family] = {}
    if generators is not None:
        check_unseen(generators, {sample.patient for sample in (*split.validation, *split.test)})
        learned = load(generators)
    rng = np.random.default_rng(configuration.seed)
    codec = reconstruct.fit([sample.image for sample in split.train], rng)
    return Setting(configuration=configuration, split=split, forge=Forge(codec, learned))
