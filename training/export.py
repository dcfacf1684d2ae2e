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
    bounds, tensors = domain.fit(
        [sample.image for sample in setting.split.train],
        [sample.image for sample in setting.split.validation],
        hounsfield=configuration.sampling.hounsfield,
    )
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / "weights.safetensors"
    save_file({**network_tensors(checkpoint), **tensors}, weights)
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
        "training": plain(configuration, setting) | _spent(checkpoint) | {"split": _split_sizes(setting)},
    }
    write_card(directory, card)


def write_card(directory: Path, card: Mapping[str, Any]) -> None:
    """Writes card.json."""
    (directory / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_card(directory: Path) -> dict[str, Any]:
    """The card as plain data, to be changed and written again."""
    return json.loads((directory / "card.json").read_text(encoding="utf-8"))


def network_tensors(checkpoint: Path) -> dict[str, np.ndarray]:
    """The averaged weights of a checkpoint: kernels in fp16, everything else as it is."""
    state = read(checkpoint)["average"]
    return {name: (value.half() if value.ndim > 1 else value).contiguous().numpy() for name, value in state.items()}


def plain(configuration: Configuration, setting: Setting) -> dict[str, Any]:
    """What a card says of how its model was trained; families whose generators were missing are not in it."""
    training = configuration.training
    return {
        "families": list(setting.available(configuration.families)),
        "held_out_families": list(configuration.held_out_families),
        "pairs_per_step": training.pairs,
        "crops_px": [side for _, side in training.phases],
        "learning_rate": training.learning_rate,
        "seed": configuration.seed,
    }


def _spent(checkpoint: Path) -> dict[str, Any]:
    progress = read(checkpoint)["progress"]
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
