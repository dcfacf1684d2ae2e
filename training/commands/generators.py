"""``python -m training generators``: trains the learned generators of fakes on training patients alone."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from medfake_pacs.classifier.network import inference_device
from training.configuration import read_configuration
from training.generators import NAMES
from training.generators.learning import Budget
from training.generators.produce import produce
from training.setting import Setting, make_setting


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "generators", help="train pix2pix, VAE and diffusion in-painters on training patients", description=__doc__
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="where *.safetensors and generators.json go")
    parser.add_argument("--budget-minutes", type=float, default=15.0, help="for all together (default 15)")
    parser.add_argument("--steps", type=int, default=0, help="steps of each instead of minutes: repeats exactly")
    parser.add_argument("--only", choices=NAMES, action="append", help="one of them; may be given again")
    parser.add_argument("--further", action="store_true", help="go on from the weights that --output holds")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trains; returns 0, or 2 with one line on stderr where it can't."""
    if options.budget_minutes <= 0 or options.steps < 0:
        print("generators: --budget-minutes must be above 0 and --steps not below", file=sys.stderr)
        return 2
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        setting = make_setting(read_configuration(options.config), options.data)
        names = tuple(dict.fromkeys(options.only or NAMES))
        about = _produce(setting, options, names)
    except (OSError, ValueError, KeyError) as error:
        print(f"generators: {error}", file=sys.stderr)
        return 2
    for name in names:
        entry = about["generators"][name]
        losses = (
            ", ".join(f"{key} {value:.4g}" for key, value in entry["losses"][-1].items()) if entry["losses"] else ""
        )
        print(f"{name}: {entry['steps']} steps, {entry['seconds']:.0f} s, {entry['parameters']} weights; {losses}")
    return 0


def _produce(setting: Setting, options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[losses]}"))
    with Progress(*columns) as progress:
        bars: dict[str, TaskID] = {name: progress.add_task(name, total=1.0, losses="", start=False) for name in names}
        tenths: set[tuple[str, int]] = set()

        def told(name: str, part: float, losses: Mapping[str, float]) -> None:
            text = " ".join(f"{key} {value:.4f}" for key, value in losses.items())
            progress.start_task(bars[name])
            progress.update(bars[name], completed=part, losses=text)
            tenth = (name, int(part * 10))
            if not progress.console.is_terminal and tenth not in tenths:
                tenths.add(tenth)
                print(f"{name}: {part:.0%} {text}", flush=True)

        return produce(
            setting.configuration,
            setting.split.train,
            options.output,
            budget=Budget(seconds=options.budget_minutes * 60, steps=options.steps),
            names=names,
            device=inference_device(options.device),
            further=options.further,
            told=told,
        )
