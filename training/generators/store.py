"""A directory of trained generators: NAME.safetensors and generators.json, written atomically, checked when read.

generators.json says what each was trained on (digests of the patients, never their identities), for how long, with
what losses, and the SHA-256 of its weights.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from training.generators.learning import Learned, Recipe, network_of

FILE = "generators.json"
FORMAT = 1
NORMALISATION = (
    "linear: (value - middle) / scale, in modality units (HU for CT); middle and scale from the 2nd and 98th "
    "percentile of the patch's known values, scale at least 8 noise levels; clipped to ±2; no 8-bit step, no "
    "equalisation"
)


def patient_digest(patient: str) -> str:
    """What stands for a patient in generators.json: the first 16 hexadecimal digits of a SHA-256."""
    return hashlib.sha256(patient.encode()).hexdigest()[:16]


def split_digest(patients: Iterable[str]) -> str:
    """SHA-256 over the sorted digests of the patients."""
    return hashlib.sha256("\n".join(sorted(map(patient_digest, set(patients)))).encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is either the old or the new one, whatever happens."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def read_about(directory: Path) -> dict[str, Any]:
    """What generators.json says.

    Raises: FileNotFoundError naming the command that makes it, ValueError where it can't be understood.
    """
    path = directory / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no trained generators; make them with "
            f"`python -m training generators --config CONFIG --data DATA --output {directory}`"
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{path}: not of format {FORMAT}; make it again")
    return about


def check_unseen(directory: Path, patients: Iterable[str]) -> None:
    """Refuses generators that learnt from any of these patients (those that will be validated or tested on).

    Raises: ValueError saying how many; as read_about.
    """
    known = set(read_about(directory)["data"]["patients"])
    seen = sum(patient_digest(patient) in known for patient in set(patients))
    if seen:
        raise ValueError(f"{directory}: the generators were trained on {seen} patients of the validation or test part")


def keep(directory: Path, name: str, learned: Learned, recipe: Recipe, about: dict[str, Any]) -> None:
    """Writes one generator's weights, then the whole of generators.json with its entry."""
    content = save({key: value.contiguous() for key, value in learned.network.state_dict().items()})
    write_atomically(directory / f"{name}.safetensors", content)
    about["generators"][name] = {
        **about["generators"].get(name, {}),
        "sha256": hashlib.sha256(content).hexdigest(),
        "recipe": dataclasses.asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in learned.network.parameters()),
        "steps": learned.steps,
        "seconds": round(learned.seconds, 1),
        "losses": learned.losses,
    }
    write_atomically(directory / FILE, json.dumps(about, indent=1).encode())


def read_network(directory: Path, name: str, about: dict[str, Any]) -> nn.Module:
    """One generator, in evaluation mode on the CPU.

    Raises: ValueError where the weights are missing, are not those of generators.json, or don't fit.
    """
    path, entry = directory / f"{name}.safetensors", about["generators"][name]
    if not path.is_file():
        raise ValueError(f"{path}: missing, though {FILE} names it")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ValueError(f"{path}: not the weights that {FILE} names (the SHA-256 differs)")
    network = network_of(name, Recipe(**entry["recipe"]), int(about["dims"]))
    try:
        network.load_state_dict(load(content))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path}: weights that don't fit the recipe: {error}") from error
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last) if about["dims"] == 2 else network
