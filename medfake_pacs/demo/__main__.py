"""Run the demonstration; see the package."""

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from medfake_pacs.demo.archive import Archive, running_archive
from medfake_pacs.demo.case import Case, DemoError, Reading
from medfake_pacs.demo.material import count_cases, make_cases
from medfake_pacs.demo.node import running_node, verify_log, write_configuration
from medfake_pacs.demo.reading import read_report
from medfake_pacs.demo.sender import send_study
from medfake_pacs.demo.table import counts, make_console, verdict_table
from medfake_pacs.demo.waiting import free_port, wait_until

_NOTE = (
    "The images come from packages of test files, and not of the body parts that the models were trained for; "
    "what is shown is what the models say of them, right or wrong. The cards in medfake_pacs/models hold the figures."
)

_INTERNAL_ERROR = "internal error"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; return 0, or 1 when the node failed: a report is missing, or the log's chain is broken."""
    parser = argparse.ArgumentParser(prog="python -m medfake_pacs.demo", description=__doc__)
    parser.add_argument("--template", type=Path, default=Path("config/demo.toml"), help="the node's configuration")
    parser.add_argument("--state", type=Path, default=Path("demo-state"), help="made anew")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the reports go; made anew")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds for the node to start, and for reports")
    options = parser.parse_args(arguments)
    console = make_console()
    try:
        return _run(options, console)
    except DemoError as error:
        console.print(f"[bold red]The demonstration failed:[/] {error}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130


def _run(options: argparse.Namespace, console: Console) -> int:
    started = time.monotonic()
    for folder in (options.state, options.output):
        shutil.rmtree(folder, ignore_errors=True)
    options.state.mkdir(parents=True)
    configuration, log = options.state / "demo.toml", options.state / "node.log"
    node_port, pacs_port = free_port(), free_port()
    write_configuration(options.template, configuration, node_port, pacs_port)
    with _progress(console) as progress, running_archive(pacs_port, options.output) as archive:
        starting = progress.add_task("Starting the node", total=1)
        with running_node(configuration, node_port, log, timeout_s=options.timeout):
            progress.advance(starting)
            cases = _send(archive, node_port, options.state / "manipulated", progress)
            complete = _await_reports(cases, archive, progress, options.timeout)
    readings = _read(cases, archive)
    console.print(verdict_table(cases, readings))
    console.print("\n".join([*counts(cases, readings), _NOTE, ""]))
    whole, said = verify_log(configuration)
    console.print("$ medfake-pacs audit verify", said, sep="\n", highlight=False)
    console.print(f"The log's chain is {'whole' if whole else '[bold red]broken[/]'}.")
    broken = [reading.path for reading in readings.values() if reading.reason.startswith(_INTERNAL_ERROR)]
    if not complete:
        console.print(f"[bold red]Reports are missing[/] after {options.timeout:.0f} s; see {log}")
    if broken:
        console.print(f"[bold red]The node failed inside[/] on {len(broken)} images; see {log}")
    console.print(f"{time.monotonic() - started:.0f} s. The node's log: {log}; its audit log: "
                  f"medfake-pacs audit query --config {configuration}")  # fmt: skip
    return 0 if complete and whole and not broken else 1


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _send(archive: Archive, port: int, folder: Path, progress: Progress) -> list[Case]:
    task = progress.add_task("Manipulating and sending", total=count_cases())

    def describe(text: str) -> None:
        progress.update(task, description=f"Manipulating {text}")

    cases = []
    for case in make_cases(folder, describe):
        archive.expect(case.study_instance_uid, case.name)
        send_study(port, [case.path])
        cases.append(case)
        progress.advance(task)
    progress.update(task, description="Manipulating and sending")
    return cases


def _await_reports(cases: Sequence[Case], archive: Archive, progress: Progress, timeout_s: float) -> bool:
    task = progress.add_task("Receiving reports", total=len(cases))

    def all_there() -> bool:
        progress.update(task, completed=len(archive.reports))
        return len(archive.reports) == len(cases)

    return wait_until(all_there, timeout_s)


def _read(cases: Sequence[Case], archive: Archive) -> Mapping[str, Reading]:
    reports = archive.reports
    return {
        case.study_instance_uid: read_report(reports[case.study_instance_uid], case.study_instance_uid)
        for case in cases
        if case.study_instance_uid in reports
    }


if __name__ == "__main__":
    sys.exit(main())
