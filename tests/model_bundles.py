"""Bundles to offer to a node: editions of others with another version, other weights or another calibration."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from medfake_pacs.classifier import Bundle, load_bundle
from tests.unit.classifier_support import make_bundle

NAME = "lung-ct"
# What these find in an image is chance; with such thresholds they call whatever they can score real.
ALL_REAL = {"real_below": 0.999_999, "fake_above": 1.0}


def small_models(folder: Path) -> Path:
    """Return a folder of base bundles: one with a small network and random weights that calls everything real."""
    make_bundle(folder / NAME, name=NAME, thresholds=ALL_REAL)
    return folder


def edition(source: Path, target: Path, *, version: str, weights: float = 0.0, **card: Any) -> Bundle:
    """Return a copy of a bundle with another version; ``weights`` is what is added to each, ``card`` replaces keys."""
    target.mkdir(parents=True)
    shutil.copyfile(source / "weights.safetensors", target / "weights.safetensors")
    document = json.loads((source / "card.json").read_text()) | {"version": version} | card
    if weights:
        tensors = load_file(target / "weights.safetensors")
        changed = {
            name: (value + weights).astype(value.dtype)
            if name.endswith("weight") and np.issubdtype(value.dtype, np.floating)
            else value
            for name, value in tensors.items()
        }
        save_file(changed, target / "weights.safetensors")
    digest = hashlib.sha256((target / "weights.safetensors").read_bytes()).hexdigest()
    (target / "card.json").write_text(json.dumps(document | {"weights_sha256": digest}))
    return load_bundle(target)


def damage(folder: Path) -> None:
    """Turn one bit of the weights over."""
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
