"""The images that probes look at: real images with fakes of them, by kind of family, or a data set's own fakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training.baselines.turns import in_turn
from training.datasets import Sample
from training.forge import WHOLE
from training.setting import Setting

Array = npt.NDArray[np.float32]
Stored = Mapping[str, str | int | float]
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image (H, W); ``box`` is the edited place (top, bottom, left, right) of it or of its fake, if known."""

    image: Array
    patient: str
    fake: bool
    box: tuple[int, int, int, int] | None = None
    stored: Stored = field(default_factory=dict)


def forged(
    setting: Setting, families: Sequence[str], *, images: int, seed: int, parts: Sequence[str] = PARTS
) -> list[Item]:
    """Real images and one fake of each, the families in turn; patients weigh alike as far as that goes.

    A pair has the same patient and box.
    """
    rng = np.random.default_rng((seed, len(families)))
    result: list[Item] = []
    samplers = {part: setting.sampler(part) for part in parts if getattr(setting.split, part)}
    places = [(part, number) for part in samplers for number in range(len(getattr(setting.split, part)))]
    chosen = in_turn([getattr(setting.split, part)[number].patient for part, number in places], images, rng)
    for order, place in enumerate(chosen):
        part, number = places[place]
        sample: Sample = getattr(setting.split, part)[number]
        made = samplers[part].families_for(number, families)
        if not made:
            continue
        edit = samplers[part].forge_image(number, made[order % len(made)], rng)
        box = _box(edit.mask)
        result.append(Item(image=sample.image, patient=sample.patient, fake=False, box=box))
        result.append(Item(image=edit.image, patient=sample.patient, fake=True, box=box))
    return result


def kinds(setting: Setting) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The families of the configuration that can be made: those that edit a place, those that redraw all."""
    configuration = setting.configuration
    families = setting.available((*configuration.families, *configuration.held_out_families))
    return (
        tuple(family for family in families if family not in WHOLE),
        tuple(family for family in families if family in WHOLE),
    )


def brought(samples: Sequence[Sample], *, images: int, seed: int) -> list[Item]:
    """A data set's own real images and fakes, ``images`` of each at most, with what is stored beside the pixels."""
    rng = np.random.default_rng(seed)
    result = []
    for label in ("real", "fake"):
        here = [sample for sample in samples if sample.label == label]
        for number in in_turn([sample.patient for sample in here], images, rng):
            sample = here[number]
            box = None if sample.mask is None else _box(sample.mask)
            result.append(
                Item(
                    image=sample.image,
                    patient=sample.patient,
                    fake=label == "fake",
                    box=box,
                    stored=dict(sample.stored),
                )
            )
    return result


def _box(mask: Array) -> tuple[int, int, int, int] | None:
    """The smallest box (top, bottom, left, right) around all that is touched; None where nothing is."""
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return None
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1
