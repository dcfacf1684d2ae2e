"""What to do about images that are there twice: use one, refuse contradictions, keep near-duplicates together."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from training.datasets.near import Pair, fingerprint, near_pairs
from training.datasets.record import LeftOut, Record
from training.datasets.sample import Array

DUPLICATE = "the same pixels as another image"
NEAR_DUPLICATE = "nearly the same pixels as another image"
CONTRADICTION = "the same pixels as an image with the other label"
_JOINED_PATIENTS, _JOINED_SHARE = 3, 0.1
# Stricter than for one patient: only an encoding, a size or faint noise is a copy.
_COPY_BITS = 16
_COPY_CORRELATION = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicated:
    """Records with their groups, each pixel content once; ``notes`` name the near-duplicates of different patients."""

    records: tuple[Record, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


class _Groups:
    """Patients that share an image, joined; a group is named by the first of its patients in alphabetic order."""

    def __init__(self, patients: Iterable[str]) -> None:
        self._parent = {patient: patient for patient in patients}

    def join(self, first: str, second: str) -> None:
        """Makes two patients one group."""
        low, high = sorted((self.of(first), self.of(second)))
        self._parent[high] = low

    def of(self, patient: str) -> str:
        """The group of a patient."""
        while self._parent[patient] != patient:
            self._parent[patient] = self._parent[self._parent[patient]]
            patient = self._parent[patient]
        return patient


def deduplicated(records: Sequence[Record], open_values: Callable[[Record], Array]) -> Deduplicated:
    """Examined records without duplicates, the patients of near-duplicates in one group.

    Of images with the same pixels and one label the first is used and their patients become one group. A real and a
    fake with the same pixels are both left out: one label is wrong, and nothing says which. Of real images outside a
    series that differ by an encoding alone the first is used too.
    """
    groups = _Groups(record.patient for record in records)
    kept, left_out = _each_once(records, groups)
    again, notes = _near(kept, groups, open_values)
    notes += _size_note(kept, groups)
    grouped = [replace(record, group=groups.of(record.patient)) for record in kept]
    return Deduplicated(
        records=tuple(record for number, record in enumerate(grouped) if number not in again),
        left_out=(*left_out, *again.values()),
        notes=tuple(notes),
    )


def _size_note(records: Sequence[Record], groups: _Groups) -> list[str]:
    """A note where one group has so many of the patients that the split can't be as it should."""
    patients = {record.patient for record in records}
    sizes = Counter(groups.of(patient) for patient in patients)
    name, size = sizes.most_common(1)[0] if sizes else ("", 0)
    if size <= max(_JOINED_PATIENTS, _JOINED_SHARE * len(patients)):
        return []
    return [f"{size} of {len(patients)} patients share images and are one group ({name}): the split is uneven"]


def _each_once(records: Sequence[Record], groups: _Groups) -> tuple[list[Record], list[LeftOut]]:
    by_pixels: dict[str, list[Record]] = {}
    for record in records:
        by_pixels.setdefault(record.sha256, []).append(record)
    kept: list[Record] = []
    left_out: list[LeftOut] = []
    for same in by_pixels.values():
        first = same[0]
        for record in same[1:]:
            groups.join(first.patient, record.patient)
        if len({record.label for record in same}) > 1:
            left_out += [_contradiction(record, same) for record in same]
            continue
        kept.append(first)
        left_out += [LeftOut(path=record.path, reason=DUPLICATE, detail=str(first.path)) for record in same[1:]]
    return kept, left_out


def _contradiction(record: Record, same: Sequence[Record]) -> LeftOut:
    other = next(each for each in same if each.label != record.label)
    detail = f"{record.path} is {record.label}, {other.path} is {other.label}"
    return LeftOut(path=record.path, reason=CONTRADICTION, detail=detail)


def _near(
    records: Sequence[Record], groups: _Groups, open_values: Callable[[Record], Array]
) -> tuple[dict[int, LeftOut], list[str]]:
    """Joins the groups of near-duplicates; the encodings of an image that is there already, and a note on each join."""
    again: dict[int, LeftOut] = {}
    notes = []
    pairs = near_pairs(
        [record.perceptual_hash for record in records],
        [groups.of(record.patient) for record in records],
        lambda number: fingerprint(open_values(records[number])),
        # Neighbouring slices are alike and two fakes of one image differ at one place: neither is a copy.
        [record.label == "real" and not record.series for record in records],
    )
    for pair in pairs:
        first, second = records[pair.first], records[pair.second]
        if groups.of(first.patient) != groups.of(second.patient):
            notes.append(_note(first, second, pair.correlation))
            groups.join(first.patient, second.patient)
        if _is_copy(first, second, pair) and pair.first not in again:
            again[pair.second] = LeftOut(path=second.path, reason=NEAR_DUPLICATE, detail=str(first.path))
    return again, notes


def _is_copy(first: Record, second: Record, pair: Pair) -> bool:
    alone = all(record.label == "real" and not record.series for record in (first, second))
    return alone and pair.bits <= _COPY_BITS and pair.correlation >= _COPY_CORRELATION


def _note(first: Record, second: Record, correlation: float) -> str:
    labels = "" if first.label == second.label else f", a {first.label} and a {second.label} one"
    return (
        f"{first.path} and {second.path} are nearly the same image{labels} (correlation {correlation:.2f}): "
        "their patients are one group"
    )
