"""A checkpoint as a bundle: weights.safetensors (fp16) and card.json."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from training import domain
from training.checkpoint import read
from training.configuration import Configuration
from training.identity import check_beginning, learnt_by, member
from training.setting import Setting
from training.split import patients

FORMAT = 1


def write_bundle(
    setting: Setting, checkpoint: Path, directory: Path, *, version: str, about: Mapping[str, Any] | None = None
) -> None:
    """Writes the weights of a checkpoint and a card that is not calibrated yet.

    ``about`` is the card's description and data, for readers.
    """
    configuration = setting.configuration
    about = about or {}
    state = read(checkpoint)
    check_beginning(state, {"members": {configuration.name: member(setting)}}, checkpoint)
    bounds, tensors = domain.fit(
        [sample.image for sample in setting.split.train],
        [sample.image for sample in setting.split.validation],
        hounsfield=configuration.sampling.hounsfield,
    )
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / "weights.safetensors"
    save_file({**network_tensors(state), **tensors}, weights)
    weights.chmod(0o644)
    card = {
        "format": FORMAT,
        "name": configuration.name,
        "version": version,
        "modality": configuration.modality,
        "description": about.get("description", ""),
        "network": {
            "backbone": configuration.backbone,
            "in_channels": len(configuration.preprocessing.channels),
            "cell_px": configuration.cell_px,
        },
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "preprocessing": configuration.preprocessing_source,
        "tile": {"size": configuration.tile_px, "overlap": configuration.overlap_px},
        "pooling": {
            "top_k_positions": configuration.training.top_positions,
            "contiguous_k": 3 if configuration.sampling.hounsfield else 1,
        },
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "thresholds": {"real_below": 0.5, "fake_above": 0.9},
        "domain": domain.as_mapping(bounds),
        "data": about.get("data", []),
        "training": learnt(configuration, state) | _spent(state) | {"split": _split_sizes(setting)},
    }
    write_card(directory, card)


def write_card(directory: Path, card: Mapping[str, Any]) -> None:
    """Writes card.json."""
    (directory / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_card(directory: Path) -> dict[str, Any]:
    """The card as plain data, to be changed and written again."""
    return json.loads((directory / "card.json").read_text(encoding="utf-8"))


def network_tensors(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The averaged weights of a checkpoint: kernels in fp16, everything else as it is."""
    return {
        name: (value.half() if value.ndim > 1 else value).contiguous().numpy()
        for name, value in state["average"].items()
    }


def learnt(configuration: Configuration, state: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of what its model learnt from: by the checkpoint, whatever generators are at hand now.

    Raises: ValueError where the checkpoint is of a run that this configuration had no part in.
    """
    facts = state["facts"]
    member_facts = facts["members"].get(configuration.name)
    if member_facts is None:
        raise ValueError(f"the checkpoint is of {', '.join(sorted(facts['members']))}, not of {configuration.name}")
    return {
        "families": sorted(learnt_by(state)),
        "held_out_families": member_facts["held_out_families"],
        "split_sha256": member_facts["split_sha256"],
        "forge_sha256": facts["forge_sha256"],
        "pairs_per_step": facts["training"]["pairs"],
        "crops_px": [side for _, side in facts["training"]["phases"]],
        "learning_rate": facts["training"]["learning_rate"],
        "seed": facts["seed"],
    }


def _spent(state: Mapping[str, Any]) -> dict[str, Any]:
    progress = state["progress"]
    return {
        "steps": progress["step"],
        "crops": progress["images"],
        "wall_clock_s": round(progress["elapsed_s"]),
        "device": progress["device"],
        "begun_with": progress["begun_with"],
        "validation_auc_of_crops": round(progress["best_auc"], 4),
    }


def _split_sizes(setting: Setting) -> dict[str, dict[str, int]]:
    parts = {"train": setting.split.train, "validation": setting.split.validation, "test": setting.split.test}
    return {name: {"images": len(samples), "groups": len(patients(samples))} for name, samples in parts.items()}
