"""``python -m training engines``: whether every engine that this machine has gives the same scores."""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands import reference

if TYPE_CHECKING:
    from training.evaluation.rows import Row


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    command = subparsers.add_parser(
        "engines", help="score the same test images by torch, OpenVINO and CUDA and compare", description=__doc__
    )
    reference.add_common(command)
    command.add_argument("--bundle", type=Path, help="default: runs/NAME/bundle")
    command.add_argument("--images", type=int, default=200, help="images, about half of them fakes (default: 200)")
    command.add_argument(
        "--limit", type=float, default=0.01, help="probabilities may differ by so much (default: 0.01)"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints how far the engines are apart; returns 0, or 1 where that is more than the limit."""
    import torch

    from training.configuration import read_configuration
    from training.evaluation.conditions import Condition
    from training.evaluation.detectors import open_detector
    from training.evaluation.run import TEST_SEED
    from training.evaluation.scoring import Scorer

    configuration = read_configuration(options.config)
    folder = Path("runs") / configuration.name
    bundle = options.bundle or folder / "bundle"
    detectors = []
    for device in ("torch-cpu", "cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        detectors.append(open_detector(bundle, cache_dir=folder / "cache", device=device))
        detectors[-1].name = detectors[-1].engine
    scorer = Scorer(reference.setting_of(configuration, options), detectors)
    untouched = Condition(name="as they are", kind="none", change=lambda image, _: image)
    rows = scorer.grid("test", [untouched], seed=TEST_SEED, images=options.images // 2)
    by_engine = {one.name: [row for row in rows if row.detector == one.name] for one in detectors}
    print(f"{bundle}: {len(rows) // len(by_engine)} images, clean ones and fakes of them")
    worst = max((_compared(*pair, by_engine) for pair in combinations(by_engine, 2)), default=0.0)
    return int(worst > options.limit)


def _compared(one: str, other: str, rows: "dict[str, Sequence[Row]]") -> float:
    """Prints how far two engines are apart; returns the greatest difference of probabilities."""
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(rows[one], rows[other], strict=True)
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
