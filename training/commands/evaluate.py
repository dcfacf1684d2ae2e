"""``python -m training evaluate``: scores a bundle on test patients; one report as HTML and JSON."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.commands import reference

_NUMBERS = ("images", "grid-images", "baseline-minutes")
_FLAGS = ("quick", "no-baselines", "no-probes", "leave-card")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    command = subparsers.add_parser(
        "evaluate", help="score a bundle on test patients and write report.html and report.json", description=__doc__
    )
    reference.add_common(command)
    command.add_argument(
        "--bundle",
        type=Path,
        action="append",
        help="default: OUTPUT/bundle; again for each further bundle of the train-by-test matrix",
    )
    command.add_argument("--output", type=Path, help="the report's folder; default: runs/NAME/evaluation")
    command.add_argument(
        "--run", dest="run_dir", type=Path, help="a training's folder with history.json, for the curves"
    )
    command.add_argument("--from-rows", type=Path, help="a report's folder: make the report again, score nothing")
    command.add_argument(
        "--fakes",
        action="append",
        metavar="READER=DIR",
        help="a data set with fakes of its own, e.g. ct-gan=DIR; measured beside the others, never trained on",
    )
    command.add_argument("--quick", action="store_true", help="40 images at most, 12 under each condition")
    command.add_argument("--images", type=int, help="as many test images at most (default: all)")
    command.add_argument("--grid-images", type=int, help="images under each condition (default: 60; 0: no grid)")
    command.add_argument("--baseline-minutes", type=float, help="how long the 224-px network is trained (default: 4)")
    command.add_argument(
        "--baselines", type=Path, help="folder of this configuration's baselines; made there where they are missing"
    )
    command.add_argument("--no-baselines", action="store_true")
    command.add_argument("--no-probes", action="store_true")
    command.add_argument("--leave-card", action="store_true", help="don't write figures into card.json and README.md")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the report, and the figures into the first bundle's card; returns 0."""
    from training.configuration import read_configuration
    from training.evaluation.run import evaluate, from_rows

    configuration = read_configuration(options.config)
    output = options.output or Path("runs") / configuration.name / "evaluation"
    bundles = options.bundle or [output.parent / "bundle"]
    if options.from_rows:
        report = from_rows(options.from_rows, output)
    else:
        detectors = reference.open_detectors(bundles, output / "cache", options.device)
        report = evaluate(
            reference.setting_of(configuration, options),
            detectors,
            output,
            extent=_extent(options),
            command=command_line(options, bundles, output),
            data=options.data,
            run=options.run_dir,
            brought=_brought(options.fakes or []),
            kept=options.baselines,
        )
    if not options.leave_card:
        reference.write_figures(bundles[0], report["figures"], options.config, report)
    _say(report, output)
    return 0


def _brought(named: list[str]) -> dict[str, Any]:
    from training.datasets import READERS

    found = {}
    for one in named:
        reader, _, root = one.partition("=")
        if reader not in READERS or not root:
            raise SystemExit(f"--fakes {one}: say READER=DIR with one of {', '.join(sorted(READERS))}")
        found[reader] = READERS[reader](Path(root))
    return found


def _extent(options: argparse.Namespace) -> Any:
    from training.evaluation.run import QUICK, Extent

    extent = QUICK if options.quick else Extent()
    changes: dict[str, Any] = {"baselines": not options.no_baselines, "probes": not options.no_probes}
    for name in ("images", "grid_images"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    if options.baseline_minutes is not None:
        changes["baseline_s"] = options.baseline_minutes * 60
    return replace(extent, **changes)


def command_line(options: argparse.Namespace, bundles: Sequence[Path], output: Path) -> str:
    """The command that makes this run again: every option that isn't at its default, and the folders."""
    words = ["python", "-m", "training", "evaluate", "--config", str(options.config), "--data", str(options.data)]
    named: list[tuple[str, object]] = [("bundle", bundle) for bundle in bundles]
    named += [("output", output), ("generators", options.generators), ("run", options.run_dir)]
    named += [("fakes", one) for one in options.fakes or []]
    named += [(name, getattr(options, name.replace("-", "_"))) for name in _NUMBERS]
    named += [("baselines", options.baselines), ("device", None if options.device == "auto" else options.device)]
    for name, value in named:
        if value is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    words += [f"--{name}" for name in _FLAGS if getattr(options, name.replace("-", "_"))]
    return shlex.join(words)


def _say(report: dict[str, Any], output: Path) -> None:
    from training.evaluation.page import in_short, interval

    for sentence in in_short(report):
        print(sentence)
    for bar in report["bars"]:
        print(f"{'met   ' if bar['met'] else 'missed'}  {bar['what']}, {bar['bar']}: {interval(bar)} {bar['note']}")
    print(output / "report.html")
