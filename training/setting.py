"""What training and evaluation share: the split data, the forge fitted to training patients, validation pairs."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.configuration import Configuration
from training.datasets import READERS
from training.forge import Forge, reconstruct
from training.sampling import Batch, PairSampler
from training.split import Split, by_patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A configuration with its data: the split comes first, the forge sees training patients alone."""

    configuration: Configuration
    split: Split
    forge: Forge

    def sampler(self, part: str) -> PairSampler:
        """The pairs of one part of the split."""
        configuration = self.configuration
        return PairSampler(getattr(self.split, part), self.forge, configuration.preprocessing, configuration.sampling)


def make_setting(configuration: Configuration, data: Path) -> Setting:
    """Reads the images under ``data``, splits them by patient, and only then fits the forge."""
    samples = READERS[configuration.reader](data / configuration.folder)
    split = by_patient(samples, seed=configuration.seed, pinned_to_test=configuration.pinned_to_test)
    rng = np.random.default_rng(configuration.seed)
    codec = reconstruct.fit([sample.image for sample in split.train], rng)
    return Setting(configuration=configuration, split=split, forge=Forge(codec))


def validation_batches(setting: Setting, families: tuple[str, ...], pairs: int) -> list[Batch]:
    """The same validation pairs every time: ``pairs`` of them, in batches of ten pairs, undegraded one in two."""
    sampler = setting.sampler("validation")
    rng = np.random.default_rng(setting.configuration.seed + 1000)
    side = setting.configuration.training.validation_px
    return [sampler.batch(10, side, families, rng) for _ in range(pairs // 10)]


def pooled(logits: Tensor, positions: int) -> Tensor:
    """The mean of the highest ``positions`` logits of each map (N, h, w), as (N,)."""
    flat = logits.flatten(1)
    return flat.topk(min(positions, flat.shape[1]), dim=1).values.mean(dim=1)


class Average:
    """An exponential moving average of a network, batch-norm statistics included."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves towards ``network``; quickly during the first steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)
