"""Memory of a process and its descendants, from /proc."""

from dataclasses import dataclass
from pathlib import Path

_MIB = 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One process: its command line and resident memory, in MiB, now and at its highest."""

    process_id: int
    command: str
    resident_mib: float
    peak_mib: float


def usage_of_tree(process_id: int) -> list[Usage]:
    """Return every living process that descends from ``process_id``, itself included."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(folder.name)] = int(fields[1])
    wanted = {process_id}
    while more := {child for child, parent in parents.items() if parent in wanted} - wanted:
        wanted |= more
    return [item for item in map(_usage, sorted(wanted)) if item]


def peak_of(usages: list[Usage], word: str) -> float:
    """Return the highest peak, in MiB, among processes whose command line holds ``word``; 0 without one."""
    return max((item.peak_mib for item in usages if word in item.command), default=0.0)


def _usage(process_id: int) -> Usage | None:
    folder = Path("/proc") / str(process_id)
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        lines = (folder / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    values = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
    if "VmRSS" not in values:
        return None
    return Usage(
        process_id=process_id,
        command=command,
        resident_mib=int(values["VmRSS"][0]) / _MIB,
        peak_mib=int(values["VmHWM"][0]) / _MIB,
    )
