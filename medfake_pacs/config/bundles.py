"""Which folder holds the bundle of each model that is in force: what was switched to, else what the node came with.

``models/NAME/active.json`` in the state folder names the folder beside it. It is replaced by renaming, so that it is
always whole; without it the bundle of ``models_dir`` is in force.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medfake_pacs.config.schema import Settings

CARD_NAME = "card.json"
POINTER_NAME = "active.json"
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
State = tuple[tuple[str, int, int], ...]


def base_directories(settings: Settings) -> dict[str, Path]:
    """Return the folder of each bundle that the node came with, by the folder's name."""
    folder = settings.models_dir
    return {card.parent.name: card.parent for card in sorted(folder.glob(f"*/{CARD_NAME}"))}


def bundle_directories(settings: Settings) -> dict[str, Path]:
    """Return the folder of the bundle that is in force for each model, by the model's name."""
    found = base_directories(settings)
    for path in _pointers(settings):
        found[path.parent.name] = _directory(path)
    return dict(sorted(found.items()))


def pointers_state(settings: Settings) -> State:
    """Return what changes whenever another bundle is switched to."""
    states = []
    for path in _pointers(settings):
        status = path.stat()
        states.append((path.parent.name, status.st_ino, status.st_mtime_ns))
    return tuple(states)


def read_pointer(path: Path) -> Mapping[str, Any] | None:
    """Return what the file ``active.json`` says; None where it isn't what was written."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or not _FOLDER.fullmatch(str(document.get("active", ""))):
        return None
    return document


def _pointers(settings: Settings) -> list[Path]:
    return sorted(settings.model_library_dir.glob(f"*/{POINTER_NAME}"))


def _directory(path: Path) -> Path:
    document = read_pointer(path)
    # A folder that isn't there: whoever loads the bundle says that it is damaged, and nobody takes another for it.
    return path.parent / (str(document["active"]) if document else "unreadable")


def incoming_problem(settings: Settings) -> str:
    """Say why new bundles can't be taken from the folder that is set: it holds something else; empty if they can."""
    if not settings.models.incoming_dir:
        return ""
    incoming = settings.incoming_models_dir.resolve()
    if incoming == (settings.model_library_dir / "incoming").resolve():
        return ""
    kept = {
        "node.state_dir": settings.node.state_dir,
        "the spool": settings.spool_dir,
        "the reports": settings.reports_dir,
        "the models": settings.model_library_dir,
        "scoring.models_dir": settings.models_dir,
    }
    for what, folder in kept.items():
        other = folder.resolve()
        if incoming == other:
            return f"it is the folder of {what}"
        if incoming in other.parents:
            return f"{what} lies in it"
        if other in incoming.parents:
            return f"it lies in {what}"
    return ""
