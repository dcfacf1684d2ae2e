"""Batches by their number: the same number gives the same batch, in whichever process and order it is made."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from medfake_pacs.lifeline import die_with
from training.sampling import Batch, PairSampler

_TRAINING, _VALIDATION = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One member's pairs and the families that its fakes come from."""

    sampler: PairSampler
    families: tuple[str, ...]


def draw(sources: Sequence[Source], pairs: int, crop_px: int, rng: np.random.Generator) -> Batch:
    """A batch of ``pairs`` real crops followed by their fakes, shared evenly among the sources."""
    shares = [pairs // len(sources) + (number < pairs % len(sources)) for number in range(len(sources))]
    parts = [
        source.sampler.batch(share, crop_px, source.families, rng)
        for source, share in zip(sources, shares, strict=True)
        if share
    ]
    reals, fakes = [], []
    for part in parts:
        half = len(part.labels) // 2
        for kept, chosen in ((reals, slice(0, half)), (fakes, slice(half, None))):
            kept.append((part.pixels[chosen], part.labels[chosen], part.cells[chosen]))
    pixels, labels, cells = (np.concatenate(values) for values in zip(*reals, *fakes, strict=True))
    return Batch(pixels=pixels, labels=labels, cells=cells)


class Supply(Dataset[Batch]):
    """Training batches by number.

    With a number of ``steps`` the phase of a batch follows from its number. Without, it follows from the clock:
    ``enter`` tells of it, the worker processes as well, which have then drawn a few batches ahead.
    """

    def __init__(
        self, sources: Sequence[Source], *, seed: int, pairs: int, phases: Sequence[tuple[float, int]], steps: int
    ) -> None:
        self._sources = sources
        self._seed = seed
        self._pairs = pairs
        self._phases = tuple(phases)
        self._steps = steps
        self._part = torch.zeros((), dtype=torch.float64).share_memory_()

    def enter(self, part: float) -> None:
        """Tells how much of the time budget is spent, 0 to 1."""
        self._part.fill_(part)

    def _crop(self, number: int) -> int:
        part = number / self._steps if self._steps else float(self._part)
        return [side for start, side in self._phases if part >= start][-1]

    def __getitem__(self, number: int) -> Batch:
        crop_px = self._crop(number)
        # Larger crops, fewer of them: a step costs about the same.
        pairs = max(len(self._sources), 4, round(self._pairs * min(1.0, (96 / crop_px) ** 2)))
        return draw(self._sources, pairs, crop_px, np.random.default_rng((self._seed, _TRAINING, number)))


class _From(Sampler[int]):
    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        number = self._first
        while True:
            yield number
            number += 1


def batches(supply: Supply, first: int, *, workers: int) -> Iterator[Batch]:
    """Endless batches from number ``first`` on; with ``workers`` processes, two are ready ahead in each."""
    loader = DataLoader(
        supply,
        batch_size=None,
        sampler=_From(first),
        num_workers=workers,
        collate_fn=_unchanged,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=partial(_work_for, os.getpid()),
    )
    return iter(loader)


def _work_for(parent: int, worker: int) -> None:
    # torch's own watch on the parent doesn't end a worker whose batch nobody takes any more.
    del worker
    if sys.platform == "linux":
        die_with(parent)


def _unchanged(batch: Batch) -> Batch:
    return batch


def validation_batches(source: Source, *, seed: int, pairs: int, crop_px: int) -> list[Batch]:
    """The same validation pairs every time, in batches of at most eight pairs."""
    rng = np.random.default_rng((seed, _VALIDATION))
    return [draw([source], min(8, pairs - start), crop_px, rng) for start in range(0, pairs, 8)]
