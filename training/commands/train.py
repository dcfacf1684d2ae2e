"""``train``: one run, within a time budget or for a number of steps."""

import argparse
from pathlib import Path


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "train", help="train within a time budget or for the configuration's steps; goes on from the last checkpoint"
    )
    parser.add_argument("--config", type=Path, required=True, help="a configuration, or one with members")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, help="default: runs/NAME")
    parser.add_argument("--budget-minutes", type=float, help="training time, counted over all resumptions")
    parser.add_argument(
        "--generators", type=Path, help="what `generators` wrote; with members, a folder for each in it"
    )
    parser.add_argument("--initial", type=Path, help="a checkpoint whose averaged weights to begin with")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trains; returns the exit status."""
    from training.configuration import read_plan
    from training.setting import make_setting
    from training.train import Trainer

    plan = read_plan(options.config)
    if options.budget_minutes is None and not plan.training.steps:
        raise SystemExit(f"{options.config} gives no number of steps: say --budget-minutes")
    output = options.output or Path("runs") / plan.name
    output.mkdir(parents=True, exist_ok=True)
    settings = [
        make_setting(member, options.data, generators_of(options.generators, member.name, len(plan.members)))
        for member in plan.members
    ]
    budget_s = float("inf") if options.budget_minutes is None else options.budget_minutes * 60
    progress = Trainer(
        plan,
        settings,
        output,
        budget_s=budget_s,
        device=options.device,
        threads=options.threads,
        initial=options.initial,
    ).run()
    print(
        f"best validation AUC of crops {progress.best_auc:.4f}; {progress.step} steps, {progress.images} crops, "
        f"{progress.elapsed_s:.0f} s on {progress.device}"
    )
    return 0


def generators_of(directory: Path | None, name: str, members: int) -> Path | None:
    """Where one member's generators are."""
    if directory is None or members == 1:
        return directory
    return directory / name
