"""``python -m training reference``: the one figure that a node compares its scores with, alone."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    command = subparsers.add_parser(
        "reference", help="write how the scores of clean test images are spread into the card", description=__doc__
    )
    add_common(command)
    command.add_argument("--bundle", type=Path, help="default: runs/NAME/bundle")
    command.set_defaults(run=run)


def add_common(command: argparse.ArgumentParser) -> None:
    """Adds what every command that scores a bundle needs."""
    command.add_argument("--config", type=Path, required=True)
    command.add_argument("--data", type=Path, required=True)
    command.add_argument(
        "--generators", type=Path, help="folder of trained generators, for the families that need them"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, torch-cpu or cuda (default: auto)")


def run(options: argparse.Namespace) -> int:
    """Scores clean test images and writes the figure into the card; returns 0."""
    from training.configuration import read_configuration
    from training.evaluation.figures import REFERENCE, line, reference_figure
    from training.evaluation.scoring import Scorer
    from training.export import read_card

    configuration = read_configuration(options.config)
    bundle = options.bundle or Path("runs") / configuration.name / "bundle"
    detector = open_detectors([bundle], bundle.parent / "cache", options.device)
    rows = Scorer(setting_of(configuration, options), detector).clean("test")
    words = ["python", "-m", "training", "reference", "--config", options.config, "--data", options.data]
    words += ["--bundle", bundle, *(["--device", options.device] if options.device != "auto" else [])]
    command = shlex.join(map(str, words))
    figure = {**reference_figure(rows), "command": command}
    others = [each for each in read_card(bundle)["figures"] if each["what"] != REFERENCE]
    write_figures(bundle, [*others, figure], options.config)
    print(line(figure))
    return 0


def open_detectors(bundles: Sequence[Path], cache_dir: Path, device: str) -> list[Any]:
    """The detectors of some bundles' folders, named apart by their folders where two cards have the same name."""
    from training.evaluation.detectors import open_detector

    detectors = [open_detector(bundle, cache_dir=cache_dir, device=device) for bundle in bundles]
    names = [detector.name for detector in detectors]
    for detector, bundle in zip(detectors, bundles, strict=True):
        if names.count(detector.name) > 1:
            detector.name = f"{detector.name} ({bundle})"
    return detectors


def setting_of(configuration: Any, options: argparse.Namespace) -> Any:
    """The configuration with its data and, where given, its generators."""
    from training.setting import make_setting

    given = {"generators": options.generators} if options.generators else {}
    return make_setting(configuration, options.data, **given)


def write_figures(
    bundle: Path, figures: Sequence[dict[str, Any]], config: Path, report: dict[str, Any] | None = None
) -> None:
    """Writes figures into a bundle's card, and its README.md from the configuration's template or the general one.

    Without a ``report`` a README.md stays as it is where only the general template could make it.
    """
    from training.evaluation.readme import write_readme
    from training.export import read_card, write_card

    card = read_card(bundle)
    card["figures"] = list(figures)
    write_card(bundle, card)
    template = config.with_suffix(".readme.md")
    if report is not None or template.exists():
        write_readme(bundle, template, report)
