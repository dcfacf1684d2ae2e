"""``python -m training engines``: whether every engine that this machine has gives the same scores."""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands import reference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from training.evaluation.detectors import Reading
    from training.setting import Setting

_SEED = 202


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    command = subparsers.add_parser(
        "engines", help="score the same test images by torch, OpenVINO and CUDA and compare", description=__doc__
    )
    reference.add_common(command)
    command.add_argument("--bundle", type=Path, help="default: runs/NAME/bundle")
    command.add_argument("--images", type=int, default=200, help="images, half of them fakes (default: 200)")
    command.add_argument(
        "--limit", type=float, default=0.01, help="probabilities may differ by so much (default: 0.01)"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints how far the engines are apart; returns 0, or 1 where that is more than the limit."""
    import torch

    from training.configuration import read_configuration
    from training.evaluation.detectors import open_detector

    configuration = read_configuration(options.config)
    bundle = options.bundle or Path("runs") / configuration.name / "bundle"
    images = _images(reference.setting_of(configuration, options), options.images)
    readings = {}
    for device in ("torch-cpu", "cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        detector = open_detector(bundle, cache_dir=Path("runs") / configuration.name / "cache", device=device)
        readings[detector.engine] = detector.read(images)
    print(f"{bundle}: {len(images)} images, half of them fakes")
    worst = max((_compared(*pair, readings) for pair in combinations(readings, 2)), default=0.0)
    return int(worst > options.limit)


def _images(setting: "Setting", count: int) -> "list[npt.NDArray[np.float32]]":
    """Test images drawn by the seed, and as many fakes made of them, the families in turn."""
    import numpy as np

    configuration, samples, sampler = setting.configuration, setting.split.test, setting.sampler("test")
    families = setting.available((*configuration.families, *configuration.held_out_families))
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(samples))[: count // 2]
    images = [samples[number].image for number in order]
    for turn, number in enumerate(order):
        images.append(sampler.forge_image(int(number), families[turn % len(families)], rng).image)
    return images


def _compared(one: str, other: str, readings: "dict[str, Sequence[Reading]]") -> float:
    """Prints how far two engines are apart; returns the greatest difference of probabilities."""
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(readings[one], readings[other], strict=True)
        if mine.probability is not None and theirs.probability is not None
    ]
    apart = sorted(abs(mine.probability - theirs.probability) for mine, theirs in pairs)  # type: ignore[operator]
    if not apart:
        print(f"{one} and {other}: every image is outside the domain, nothing to compare")
        return float("inf")
    verdicts = sum(mine.verdict != theirs.verdict for mine, theirs in pairs)
    print(
        f"{one} and {other}: probabilities of {len(pairs)} images inside the domain differ by {apart[-1]:.4f} at most, "
        f"{apart[len(apart) // 2]:.4f} in the median; {verdicts} verdicts differ"
    )
    return apart[-1]
