"""A run's state on disk: weights, their average, the optimizer, and where the run is; written whole or not at all."""

import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

LAST, BEST = "last.pt", "best.pt"


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a run is. The random numbers of a step follow from its number, so they need no state.

    ``begun_with`` tells of the run whose weights this one began with: its steps, crops, seconds and device, and the
    run that it began with in turn.
    """

    step: int = 0
    elapsed_s: float = 0.0
    images: int = 0
    best_auc: float = 0.0
    stale: int = 0
    device: str = ""
    begun_with: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def save(
    path: Path,
    *,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    at: Progress,
    facts: Mapping[str, Any],
) -> None:
    """Writes a checkpoint beside the old one and puts it in its place; ``facts`` are ``training.identity``'s."""
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(at),
        "facts": dict(facts),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as handle:
        torch.save(state, handle)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def read(path: Path, device: torch.device | str = "cpu") -> Mapping[str, Any]:
    """A checkpoint's state; nothing in it is executed.

    Raises: FileNotFoundError or ValueError where it isn't there, or is no checkpoint of this program.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no checkpoint; `medfake-train train` writes one")
    try:
        state: Mapping[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a checkpoint: {str(error).splitlines()[0]}") from error
    if "facts" not in state:
        raise ValueError(f"{path}: a checkpoint that doesn't say what it learnt from")
    return state


def restore(
    state: Mapping[str, Any], *, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Progress:
    """Puts a run back where the state was written."""
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
