"""What the demonstration prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from medfake_pacs.demo.case import Case, Reading

_STYLES = {"real": "green", "fake": "red", "indeterminate": "yellow", "not assessed": "dim"}
_WIDTH_OF_PIPES = 190


def make_console() -> Console:
    """Return a console that doesn't squeeze the table where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_PIPES)


def verdict_table(cases: Sequence[Case], readings: Mapping[str, Reading]) -> Table:
    """Return one line for each case: what it is, what the node says, and where the report lies."""
    table = Table(title="Verdicts, read from the reports that the PACS received")
    for heading in ("image", "what", "truth", "verdict"):
        table.add_column(heading)
    table.add_column("probability\nof fake", justify="right")
    table.add_column("why")
    # A path that is broken over two lines can be neither copied nor clicked.
    table.add_column("report", no_wrap=True)
    for case in cases:
        reading = readings.get(case.study_instance_uid)
        truth = f"{case.truth} ({case.manipulation})" if case.manipulation else case.truth
        if reading is None:
            table.add_row(case.name, case.description, truth, "[bold red]no report[/]", "", "", "")
            continue
        style = _STYLES.get(reading.verdict, "")
        probability = "" if reading.probability is None else f"{reading.probability:.3f}"
        table.add_row(
            case.name, case.description, truth, f"[{style}]{reading.verdict}[/]", probability, reading.reason,
            _shown(reading.path),
        )  # fmt: skip
    return table


def counts(cases: Sequence[Case], readings: Mapping[str, Reading]) -> list[str]:
    """Return the sentences that sum the table up, with nothing left out."""
    sentences = []
    for truth in ("real", "fake"):
        verdicts = [
            readings[case.study_instance_uid].verdict
            for case in cases
            if case.truth == truth and case.study_instance_uid in readings
        ]
        parts = [f"{verdicts.count(verdict)} {verdict}" for verdict in _STYLES if verdict in verdicts]
        what = "real images" if truth == "real" else "manipulated copies"
        sentences.append(f"Of {len(verdicts)} {what}: {', '.join(parts) or 'none reported'}.")
    return sentences


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
