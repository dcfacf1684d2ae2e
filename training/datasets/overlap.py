"""Images that two data sets share: CT-GAN's and M3Dsynth's scans come from LIDC-IDRI under other names."""

from collections.abc import Iterable
from dataclasses import dataclass

from training.datasets.record import Record


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


def overlaps(first: Iterable[Record], second: Iterable[Record]) -> list[Overlap]:
    """The groups of patients that have images with the same pixel values, most images first."""
    by_pixels: dict[str, Record] = {record.sha256: record for record in second}
    counts: dict[tuple[str, str, str, str], int] = {}
    for record in first:
        other = by_pixels.get(record.sha256)
        if other is not None:
            key = (record.group, other.group, record.split, other.split)
            counts[key] = counts.get(key, 0) + 1
    return [
        Overlap(first=key[0], second=key[1], images=count, first_split=key[2], second_split=key[3])
        for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
