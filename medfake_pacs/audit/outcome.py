"""What a check of the log came to, in the words of command line, console and API; and the event that says so."""

from pathlib import Path
from typing import Any

from medfake_pacs.audit.verify import Verification

KIND = "log-verified"


def outcome(result: Verification) -> str:
    """Say in one sentence whether the log is whole, or which row is the first that isn't."""
    if result.ok:
        return f"the log is whole: {result.rows} rows, {result.anchors} anchors, head {result.head}"
    where = "the log can't be verified" if result.first_broken_seq is None else (
        f"the log is broken at row {result.first_broken_seq}"
    )  # fmt: skip
    return f"{where}: {result.reason} ({result.rows} rows before it are whole)"


def remarks(result: Verification, anchor_file: Path | None) -> tuple[str, ...]:
    """Say what the check of a whole log couldn't tell, and what protects the log no longer."""
    if not result.ok:
        return ()
    if result.anchors or not result.rows:
        return result.warnings
    where = f"no anchor in {anchor_file}" if anchor_file else "no anchor file (audit.anchor_file, --anchor)"
    return (*result.warnings, f"{where}: a log that was cut off at its end would look whole")


def facts(result: Verification) -> dict[str, Any]:
    """Return what the log keeps of a check of a whole log. A broken one is left alone: it is evidence."""
    counts = {"rows": result.rows, "head": result.head, "anchors": result.anchors, "warnings": result.warnings}
    return {"result": "whole", **counts}
