"""``evaluate``: the command that a report names makes the same run again."""

import argparse
import shlex
from pathlib import Path

import pytest

from training.commands import evaluate

NEEDED = ["--config", "configs/knee xr.toml", "--data", "a & b"]
EVERYTHING = [
    *NEEDED, "--bundle", "one", "--bundle", "two", "--output", "out", "--generators", "made", "--device", "torch-cpu",
    "--run", "runs/knee", "--fakes", "ct-gan=DIR", "--fakes", "folder=a b", "--quick", "--images", "40",
    "--grid-images", "0", "--baseline-minutes", "0.5", "--baselines", "kept", "--no-baselines", "--no-probes",
    "--leave-card",
]  # fmt: skip


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add(parser.add_subparsers(required=True))
    return parser.parse_args(["evaluate", *arguments])


@pytest.mark.parametrize("arguments", [EVERYTHING, [*NEEDED, "--bundle", "one", "--output", "out"]])
def test_the_command_of_a_report_has_every_option(arguments: list[str]) -> None:
    options = parsed(arguments)
    words = shlex.split(evaluate.command_line(options, options.bundle, options.output))
    assert words[:4] == ["python", "-m", "training", "evaluate"]
    assert parsed(words[4:]) == options


def test_defaults_are_named_where_they_are_folders() -> None:
    words = evaluate.command_line(parsed(NEEDED), [Path("runs/knee-xr/bundle")], Path("runs/knee-xr/evaluation"))
    again = parsed(shlex.split(words)[4:])
    assert (again.bundle, again.output) == ([Path("runs/knee-xr/bundle")], Path("runs/knee-xr/evaluation"))


def test_no_option_is_forgotten() -> None:
    unset, everything = vars(parsed(NEEDED)), vars(parsed(EVERYTHING))
    # A report made again from its rows keeps the command that scored them.
    same = {name for name in unset if unset[name] == everything[name]} - {"config", "data", "run", "from_rows"}
    assert same == set()
