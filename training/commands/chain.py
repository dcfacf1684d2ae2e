"""``chain``: everything in one go, generators to report, as `make train` runs it."""

import argparse
import time
from pathlib import Path


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "chain", help="data sets, generators, training, export with calibration, evaluation: one after the other"
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, help="default: runs/NAME")
    parser.add_argument("--budget-minutes", type=float, default=6.0, help="about; a quarter is for the generators")
    parser.add_argument("--model-version", default="0.0.0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs each step; returns the first exit status that isn't 0."""
    from training.__main__ import main
    from training.configuration import read_configuration
    from training.datasets.registry import CATALOGUE

    configuration = read_configuration(options.config)
    output = options.output or Path("runs") / configuration.name
    generators, bundle = output / "generators", output / "bundle"
    common = ["--config", str(options.config), "--data", str(options.data)]
    engine = ["--device", options.device]
    threads = ["--threads", str(options.threads)]
    made = ["--generators", str(generators)]
    minutes = options.budget_minutes
    root = str(options.data / configuration.folder)
    described = ["datasets", "describe", "--reader", configuration.reader, "--root", root]
    steps = (
        *([described] if configuration.reader in CATALOGUE else []),
        ["generators", *common, *engine, *threads, "--output", str(generators), "--budget-minutes", f"{minutes / 4:g}"],
        ["train", *common, *engine, *threads, *made, "--output", str(output), "--budget-minutes", f"{minutes / 2:g}"],
        [
            *("export", *common, *engine, *made, "--checkpoint", str(output / "best.pt"), "--bundle", str(bundle)),
            *("--model-version", options.model_version),
        ],
        [
            *("evaluate", *common, *engine, *made, "--bundle", str(bundle), "--quick", "--run", str(output)),
            *("--output", str(output / "evaluation"), "--baseline-minutes", f"{minutes / 20:g}"),
        ],
    )
    for number, step in enumerate(steps, start=1):
        began = time.monotonic()
        print(f"[{number}/{len(steps)}] medfake-train {' '.join(step)}", flush=True)
        status = main(step)
        print(f"[{number}/{len(steps)}] {step[0]}: {time.monotonic() - began:.0f} s", flush=True)
        if status:
            return status
    print(f"bundle: {bundle}\nreport: {output / 'evaluation' / 'report.html'}")
    return 0
