"""``python -m training train|export|evaluate|reference``: from images to a measured bundle."""

import argparse
import sys
import tomllib
from pathlib import Path

from training.commands import calibrate
from training.configuration import Configuration, read_configuration


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train within a time budget; goes on from the last checkpoint")
    train.add_argument("--budget-minutes", type=float, required=True)
    train.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    export = commands.add_parser("export", help="a checkpoint as a bundle, calibrated on validation patients")
    export.add_argument("--checkpoint", type=Path, help="default: OUTPUT/best.pt")
    export.add_argument("--model-version", default="0.0.0")
    export.add_argument("--rounds", type=int, default=1, help="fakes of each family for each validation image")
    evaluate = commands.add_parser("evaluate", help="figures on test patients, into the bundle's card")
    reference = commands.add_parser("reference", help="the one figure that a node compares its scores with, alone")
    for command in (train, export, evaluate, reference):
        command.add_argument("--config", type=Path, required=True)
        command.add_argument("--data", type=Path, required=True)
        command.add_argument("--output", type=Path, help="default: runs/NAME")
        command.add_argument("--device", default="auto")
    for command in (export, evaluate, reference):
        command.add_argument("--bundle", type=Path, help="default: OUTPUT/bundle")
    calibrate.add(commands)
    return parser


def _train(configuration: Configuration, options: argparse.Namespace) -> None:
    from training.train import train

    progress = train(
        configuration,
        options.data,
        options.output,
        budget_s=options.budget_minutes * 60,
        device=options.device,
        threads=options.threads,
    )
    print(f"best validation AUC {progress.best_auc:.4f} after {progress.step} steps in {progress.elapsed_s:.0f} s")


def _export(configuration: Configuration, options: argparse.Namespace) -> None:
    from training.evaluate import calibrate, open_scorer
    from training.export import write_bundle
    from training.setting import make_setting

    setting = make_setting(configuration, options.data)
    checkpoint = options.checkpoint or options.output / "best.pt"
    card = options.config.with_suffix(".card.toml")
    about = tomllib.loads(card.read_text(encoding="utf-8")) if card.exists() else None
    write_bundle(setting, checkpoint, options.bundle, version=options.model_version, about=about)
    scorer = open_scorer(setting, options.bundle, options.output / "cache", options.device)
    print(calibrate(setting, options.bundle, scorer, options.rounds))


def _evaluate(configuration: Configuration, options: argparse.Namespace) -> None:
    from training.evaluate import measure, open_scorer, reading_of, refer
    from training.figures import line
    from training.readme import write_readme
    from training.setting import make_setting

    setting = make_setting(configuration, options.data)
    scorer = open_scorer(setting, options.bundle, options.output / "cache", options.device)
    command = (
        f"python -m training {options.command} --config {options.config} --data {options.data} "
        f"--bundle {options.bundle}"
    )
    if options.command == "reference":
        figures = [refer(options.bundle, scorer, command)]
    else:
        figures = measure(setting, options.bundle, scorer, reading_of(options.bundle), command)
    for figure in figures:
        print(line(figure))
    template = options.config.with_suffix(".readme.md")
    if template.exists():
        write_readme(options.bundle, template)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "calibrate":
        return int(options.run(options))
    configuration = read_configuration(options.config)
    options.output = options.output or Path("runs") / configuration.name
    if options.command != "train":
        options.bundle = options.bundle or options.output / "bundle"
    {"train": _train, "export": _export, "evaluate": _evaluate, "reference": _evaluate}[options.command](
        configuration, options
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
