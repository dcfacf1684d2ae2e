"""``python -m training train|evaluate|export``."""

import argparse
import sys
from pathlib import Path

from training.configuration import read_configuration


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train", help="train within a time budget; goes on from the last checkpoint")
    _common(command)
    command.add_argument("--budget-minutes", type=float, required=True)
    return parser


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, required=True)
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--output", type=Path, help="default: runs/NAME")
    command.add_argument("--device", default="auto")
    command.add_argument("--threads", type=int, default=0)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    configuration = read_configuration(options.config)
    output = options.output or Path("runs") / configuration.name
    if options.command == "train":
        from training.train import train

        progress = train(
            configuration,
            options.data,
            output,
            budget_s=options.budget_minutes * 60,
            device=options.device,
            threads=options.threads,
        )
        print(f"best validation auc {progress.best_auc:.4f} after {progress.step} steps in {progress.elapsed_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
