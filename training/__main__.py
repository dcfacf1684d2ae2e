"""From images to a measured bundle: data sets, forge, generators, training, export, calibration, evaluation."""

import argparse
import sys
from importlib import import_module

from medfake_pacs.errors import MedfakeError

# Each is a module of training.commands with an ``add(subparsers)`` that sets ``run``.
_COMMANDS = (
    "datasets",
    "forge",
    "generators",
    "train",
    "export",
    "evaluate",
    "engines",
    "calibrate",
    "reference",
    "domain",
    "chain",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medfake-train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in _COMMANDS:
        import_module(f"training.commands.{name}").add(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (MedfakeError, OSError, ValueError) as error:
        print(f"medfake-train {options.command}: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
