"""Images that two data sets share: CT-GAN's and M3Dsynth's scans come from LIDC-IDRI under other names.

The same pixels prove it; so do nearly the same ones, since sets are published in other sizes, windows and encodings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.datasets.near import fingerprint, near_pairs, perceptual_hash
from training.datasets.record import Record
from training.datasets.sample import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """One patient of the first set who is one of the second: how many images prove it, and where each is split to."""

    first: str
    second: str
    images: int
    first_split: str
    second_split: str

    @property
    def leaks(self) -> bool:
        """Whether one set trains on whom the other tests or validates on."""
        return self.first_split != self.second_split and "train" in (self.first_split, self.second_split)


def overlaps(
    first: Sequence[Record], second: Sequence[Record], open_values: Callable[[Record], Array] | None = None
) -> list[Overlap]:
    """The groups of patients that have images with the same pixels or nearly the same ones, most images first.

    ``open_values`` reads the pixels that confirm what the hashes say; without it the hashes alone decide.
    """
    counts: dict[tuple[str, str, str, str], set[str]] = {}
    for one, other in _pairs(first, second, open_values):
        key = (one.group, other.group, one.split, other.split)
        counts.setdefault(key, set()).add(one.name)
    return [
        Overlap(first=key[0], second=key[1], images=len(names), first_split=key[2], second_split=key[3])
        for key, names in sorted(counts.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _pairs(
    first: Sequence[Record], second: Sequence[Record], open_values: Callable[[Record], Array] | None
) -> Iterator[tuple[Record, Record]]:
    by_pixels: dict[str, Record] = {record.sha256: record for record in second}
    yield from ((record, by_pixels[record.sha256]) for record in first if record.sha256 in by_pixels)
    records = [record for record in (*first, *second) if record.perceptual_hash]
    count = sum(bool(record.perceptual_hash) for record in first)

    def opened(number: int) -> Array:
        # Without pixels every candidate passes: a patient too many is left out sooner than one too few.
        return fingerprint(open_values(records[number])) if open_values else np.ones(1, np.float32)

    sides = ["first" if number < count else "second" for number in range(len(records))]
    for pair in near_pairs([record.perceptual_hash for record in records], sides, opened):
        yield records[pair.first], records[pair.second]


def alike(images: Sequence[Array], known: Sequence[Array]) -> set[int]:
    """The numbers of the images (H, W) that are nearly one of those known: encoded, resized, windowed anew."""
    everything = [*images, *known]
    sides = ["new" if number < len(images) else "known" for number in range(len(everything))]
    pairs = near_pairs(
        [perceptual_hash(image) for image in everything], sides, lambda number: fingerprint(everything[number])
    )
    return {pair.first for pair in pairs}
