"""Measure everything, or the parts that are named; results to a table and to bench-results/bench.json."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from medfake_pacs.errors import MedfakeError
from tests.performance import console_load, latency, receive, scoring
from tests.performance.figures import Figure, Results
from tests.performance.slices import make_slices

_FAILURES = (MedfakeError, OSError, RuntimeError, AssertionError, subprocess.SubprocessError, pytest.fail.Exception)
PARTS = ("receive", "scoring", "latency", "console")


def main() -> int:
    """Run the parts; return 0, or 1 when one could not be measured. A missed aim is no failure."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 160)
    folder = options.output.resolve() / "work"
    shutil.rmtree(folder, ignore_errors=True)
    results = Results(options={key: str(value) for key, value in vars(options).items()})

    def say(text: str) -> None:
        console.print(f"  {text}", style="dim", highlight=False)

    parts = options.only or PARTS
    slices: list[Path] = []
    series: list[Path] = []
    if set(parts) - {"console"}:
        say("making slices")
        slices = make_slices(folder / "slices", options.slices)
        series = make_slices(folder / "series", options.series)
    work: dict[str, Callable[[], list[Figure]]] = {
        "receive": lambda: receive.measure(folder / "receive", slices, options.repetitions, say),
        "scoring": lambda: scoring.measure(folder / "scoring", series, options.repetitions, say),
        "latency": lambda: latency.measure(folder / "latency", series, say),
        "console": lambda: console_load.measure(
            folder / "console", options.console_cache, options.studies, options.console_repetitions, say
        ),
    }
    for part in parts:
        console.print(part, style="bold")
        try:
            results.extend(work[part]())
        except (
            MedfakeError,
            OSError,
            RuntimeError,
            AssertionError,
            subprocess.SubprocessError,
            pytest.fail.Exception,
        ) as error:
            results.failures.append(f"{part}: {error}")
    if not results.failures:
        shutil.rmtree(folder, ignore_errors=True)
    target = options.output / "bench.json"
    results.write(target)
    results.show(console)
    console.print(f"All of it: {target}")
    return 1 if results.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, one repetition: to see that it runs")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be given again")
    parser.add_argument("--slices", type=int, default=400, help="CT slices to receive")
    parser.add_argument("--series", type=int, default=100, help="CT slices to score")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--studies", type=int, default=1_000_000, help="studies in the console's database")
    parser.add_argument("--console-repetitions", type=int, default=8, help="how often each page is asked for")
    cache = Path(tempfile.gettempdir()) / "medfake-bench"
    parser.add_argument("--console-cache", type=Path, default=cache, help="where the large databases are kept (10 GB)")
    parser.add_argument("--output", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    if options.quick:
        options.slices, options.series, options.repetitions = 40, 10, 1
        options.studies, options.console_repetitions = 20_000, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
