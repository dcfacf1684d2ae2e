"""From a configuration's training patients to a directory of generators."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.configuration import Configuration
from training.datasets import Sample
from training.generators.learning import RECIPES, Budget, Learned, learn
from training.generators.patches import PatchSource
from training.generators.store import (
    FILE,
    FORMAT,
    NORMALISATION,
    keep,
    patient_digest,
    read_about,
    read_network,
    split_digest,
)

PATCH_PX = 48
"""About 34 mm at the median pixel of a chest CT (0.7 mm), CT-GAN's 32 mm cube at native resolution."""
SHARES = {"pix2pix": 0.4, "vae": 0.2, "diffusion": 0.4}
Told = Callable[[str, float, dict[str, float]], None]


def produce(
    configuration: Configuration,
    samples: Sequence[Sample],
    output: Path,
    *,
    budget: Budget,
    names: Sequence[str],
    device: torch.device,
    further: bool = False,
    told: Told = lambda name, part, losses: None,
) -> dict[str, Any]:
    """Trains the named generators on ``samples`` (the training part of the split, nothing else) into ``output``.

    A budget in seconds is shared among them. Generators of other names that ``output`` holds stay, if they learnt
    from the same patients. With ``further`` the weights that are there are where training starts. Returns what
    generators.json holds.

    Raises: ValueError where there is nothing to learn from, or ``output`` holds generators of other patients.
    """
    reals = [sample for sample in samples if getattr(sample, "label", "real") == "real"]
    about = _about(configuration, reals, output)
    source = PatchSource(
        [sample.image for sample in reals],
        [sample.patient for sample in reals],
        patch_px=PATCH_PX,
        hounsfield=configuration.sampling.hounsfield,
    )
    about["contrasts"] = source.contrasts(np.random.default_rng(configuration.seed))
    output.mkdir(parents=True, exist_ok=True)
    total = sum(SHARES[name] for name in names)
    for name in names:
        start = read_network(output, name, about) if further and name in about["generators"] else None
        before = about["generators"][name] if start is not None else {}
        recipe = RECIPES[name]
        if before:
            recipe = replace(recipe, base=before["recipe"]["base"], latents=before["recipe"]["latents"])
        learned = learn(
            name,
            source,
            recipe,
            Budget(seconds=budget.seconds * SHARES[name] / total, steps=budget.steps),
            seed=configuration.seed + before.get("steps", 0),
            device=device,
            start=start,
            told=partial(told, name),
        )
        _go_on_counting(learned, before)
        keep(output, name, learned, recipe, about)
    return about


def _go_on_counting(learned: Learned, before: dict[str, Any]) -> None:
    """Adds the steps, seconds and losses of the training that this one went on from."""
    steps = before.get("steps", 0)
    later = [{**entry, "step": entry["step"] + steps} for entry in learned.losses]
    learned.losses = [*before.get("losses", []), *later]
    learned.seconds += before.get("seconds", 0.0)
    learned.steps += steps


def _about(configuration: Configuration, samples: Sequence[Sample], output: Path) -> dict[str, Any]:
    patients = sorted({sample.patient for sample in samples})
    about = {
        "format": FORMAT,
        "configuration": configuration.name,
        "modality": configuration.modality,
        "seed": configuration.seed,
        "dims": 2,
        "patch_px": PATCH_PX,
        "normalisation": NORMALISATION,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "data": {
            "part": "train",
            "images": len(samples),
            "split_sha256": split_digest(patients),
            "patients": sorted(map(patient_digest, patients)),
        },
        "generators": {},
    }
    if (output / FILE).exists():
        earlier = read_about(output)
        if earlier["data"]["split_sha256"] != about["data"]["split_sha256"]:
            raise ValueError(f"{output}: holds generators that learnt from other patients; name another directory")
        about["generators"] = earlier["generators"]
    return about
