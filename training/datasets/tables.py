"""Two tables of a data set: what it is made of, and how many images of each class are in each part of the split."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydicom.uid import UID
from rich import box
from rich.console import Group
from rich.table import Table

from training.datasets.manifest import Manifest
from training.datasets.record import Record
from training.split import PARTS

_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """One row of Table 1: the images of one source with one label, made by one generator."""

    source: str
    label: str
    generator: str
    images: int
    patients: int
    series: int
    sizes: tuple[str, ...]
    bits: tuple[str, ...]
    codecs: tuple[str, ...]
    lossy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """One row of Table 2: one part of the split, its groups of patients, and its images by class."""

    part: str
    groups: int
    real: int
    fake: int


def composition(records: Iterable[Record]) -> list[Composition]:
    """Table 1."""
    rows: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        rows.setdefault((record.source, record.label, record.generator), []).append(record)
    return [
        Composition(
            source=source,
            label=label,
            generator=generator,
            images=len(found),
            patients=len({record.patient for record in found}),
            series=len({record.series for record in found if record.series}),
            sizes=_common(f"{record.stored.get('columns')}x{record.stored.get('rows')}" for record in found),
            bits=_common(str(record.stored.get("bits")) for record in found),
            codecs=_common(_codec(str(record.stored.get("codec"))) for record in found),
            lossy=sum(record.lossy for record in found),
        )
        for (source, label, generator), found in sorted(rows.items())
    ]


def parts(records: Sequence[Record]) -> list[PartCounts]:
    """Table 2."""
    return [
        PartCounts(
            part=part,
            groups=len({record.group for record in found}),
            real=sum(record.label == "real" for record in found),
            fake=sum(record.label == "fake" for record in found),
        )
        for part in PARTS
        for found in [[record for record in records if record.split == part]]
    ]


def left_out(manifest: Manifest) -> Mapping[str, int]:
    """How many images were left out for each reason."""
    counts: Counter[str] = Counter()
    for each in manifest.left_out:
        counts[each.reason] += each.images
    return dict(counts.most_common())


def as_json(manifest: Manifest) -> dict[str, Any]:
    """Both tables, and what was left out, for a program."""
    return {
        "table_1": [asdict(row) for row in composition(manifest.records)],
        "table_2": [asdict(row) for row in parts(manifest.records)],
        "left_out": dict(left_out(manifest)),
        "notes": list(manifest.notes),
    }


def as_text(manifest: Manifest) -> Group:
    """Both tables, for a person."""
    first = Table(title="Table 1. The images", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    numbers = ("images", "patients", "series", "lossy")
    for name in ("source", "class", "images", "patients", "series", "size", "bits", "codec", "lossy"):
        first.add_column(name, justify="right" if name in numbers else "left", no_wrap=name in ("source", *numbers))
    for row in composition(manifest.records):
        label = f"{row.label} ({row.generator})" if row.generator else row.label
        counts = (str(row.images), str(row.patients), str(row.series or "-"))
        facts = (" ".join(row.sizes), " ".join(row.bits), "\n".join(row.codecs), str(row.lossy))
        first.add_row(row.source, label, *counts, *facts)
    second = Table(title="Table 2. The split by patient", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("part", "patients", "real", "fake", "images"):
        second.add_column(name, justify="left" if name == "part" else "right")
    for each in parts(manifest.records):
        second.add_row(each.part, str(each.groups), str(each.real), str(each.fake), str(each.real + each.fake))
    return Group(first, second)


def remarks(manifest: Manifest) -> list[str]:
    """What was left out and what to know, a line each: first the sums, then the first files of each reason."""
    lines = [f"note: {note}" for note in manifest.notes[:_SHOWN]]
    if len(manifest.notes) > _SHOWN:
        lines.append(f"note: {len(manifest.notes) - _SHOWN} more notes")
    for reason, count in left_out(manifest).items():
        lines.append(f"left out: {count} images: {reason}")
        which = [each for each in manifest.left_out if each.reason == reason]
        lines += [f"  {each.path}{f': {each.detail}' if each.detail else ''}" for each in which[:_SHOWN]]
        if len(which) > _SHOWN:
            lines.append(f"  and {len(which) - _SHOWN} more")
    return lines


def _codec(name: str) -> str:
    """PNG, JPEG or TIFF, or a transfer syntax by its name."""
    return UID(name).name.split(":")[0] if name[:1].isdigit() else name


def _common(values: Iterable[str], limit: int = 2) -> tuple[str, ...]:
    """The most common values, and how many others there are."""
    counts = Counter(values)
    names = [name for name, _ in counts.most_common(limit)]
    return tuple(names + [f"+{len(counts) - limit}"] * (len(counts) > limit))
