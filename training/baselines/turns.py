"""Which images to take when not all can be: patients in turn."""

from collections.abc import Sequence

import numpy as np


def in_turn(patients: Sequence[str], count: int, rng: np.random.Generator) -> list[int]:
    """At most ``count`` numbers of images: one of each patient, then a second of each, and so on.

    ``patients`` names each image's patient.
    """
    seen: dict[str, int] = {}
    rounds: list[tuple[int, int, int]] = []
    for order, number in enumerate(rng.permutation(len(patients)).tolist()):
        name = patients[number]
        seen[name] = seen.get(name, -1) + 1
        rounds.append((seen[name], order, number))
    return [number for _, _, number in sorted(rounds)[:count]]
