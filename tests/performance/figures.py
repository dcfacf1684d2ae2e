"""One figure, what it is compared with, and the aim that it is held to."""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value; ``samples`` are the single repetitions, ``value`` their median.

    ``reached`` is None where there is no aim.
    """

    group: str
    name: str
    value: float
    unit: str
    aim: str = ""
    reached: bool | None = None
    note: str = ""
    samples: tuple[float, ...] = ()


@dataclass(slots=True, kw_only=True)
class Results:
    """What a run has found so far, and the circumstances that it was found in."""

    options: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def extend(self, figures: Sequence[Figure]) -> None:
        """Add figures."""
        self.figures.extend(figures)

    def write(self, path: Path) -> None:
        """Write everything as one JSON object."""
        document = {
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": _machine(),
            "options": self.options,
            "figures": [asdict(figure) for figure in self.figures],
            "failures": self.failures,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """Print a table, and what could not be measured."""
        table = Table(title="medfake_pacs beside other software")
        for heading in ("what", "which"):
            table.add_column(heading)
        table.add_column("value", justify="right")
        for heading in ("unit", "aim", "reached", "note"):
            table.add_column(heading)
        group = ""
        for figure in self.figures:
            reached = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[figure.reached]
            shown = figure.group if figure.group != group else ""
            if shown and group:
                table.add_section()
            group = figure.group
            value = f"{figure.value:.3g}" if abs(figure.value) < 100 else f"{figure.value:.0f}"
            table.add_row(shown, figure.name, value, figure.unit, figure.aim, reached, figure.note)
        console.print(table)
        for failure in self.failures:
            console.print(f"[red]not measured:[/] {failure}")


def _machine() -> dict[str, Any]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_average_at_end": os.getloadavg(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
