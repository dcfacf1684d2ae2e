"""A small bundle with random weights, made on the spot, and frames to score with it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from medfake_pacs.classifier.network import network_class
from medfake_pacs.entities import DecodedFrame

# timm's smallest network of the family: milliseconds instead of seconds, the same kind of map.
BACKBONE = "test_efficientnet"


def make_bundle(directory: Path, *, tile: int = 96, overlap: int = 32, cell_px: int = 16, **changes: Any) -> Path:
    """A bundle with random weights (a fixed seed) whose domain takes any image that isn't constant."""
    directory.mkdir(parents=True)
    torch.manual_seed(7)
    network = network_class(cell_px)(2, backbone=BACKBONE).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.8, 1.2)
                module.bias.uniform_(-0.3, 0.3)
        network.classifier.weight.normal_(0, 0.4)
    tensors = {name: value.contiguous().numpy() for name, value in network.state_dict().items()}
    tensors["domain.mean"] = np.zeros(256 + 16, np.float32)
    tensors["domain.components"] = np.eye(4, 256 + 16, dtype=np.float32)
    tensors["domain.deviation"] = np.ones(4, np.float32)
    weights = directory / "weights.safetensors"
    save_file(tensors, weights)
    card = make_card(hashlib.sha256(weights.read_bytes()).hexdigest(), tile, overlap, cell_px) | changes
    (directory / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return directory


def make_card(weights_sha256: str, tile: int, overlap: int, cell_px: int) -> dict[str, Any]:
    """A complete card as plain data."""
    return {
        "format": 1,
        "name": "small",
        "version": "1.0.0",
        "modality": "CT",
        "description": "random weights",
        "network": {"backbone": BACKBONE, "in_channels": 2, "cell_px": cell_px},
        "weights_sha256": weights_sha256,
        "preprocessing": {
            "channels": [
                {"kind": "window", "low": -1000.0, "high": 1000.0},
                {"kind": "highpass", "size": 3, "scale": 10.0, "clip": 4.0},
            ]
        },
        "tile": {"size": tile, "overlap": overlap},
        "pooling": {"top_k_positions": 3, "contiguous_k": 3},
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "thresholds": {"real_below": 0.4, "fake_above": 0.6},
        "domain": {
            "min_side_px": 64,
            "max_side_px": 400,
            "min_range": 10.0,
            "noise": [0.0, 10.0],
            "thumbnail_px": 16,
            "thumbnail_range": [-1000.0, 300.0],
            "max_distance": 1000.0,
            "max_residual": 1000.0,
        },
    }


def frame(height: int, width: int, seed: int = 0) -> DecodedFrame:
    """A smooth, noisy frame in Hounsfield's range."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    values = 600 * np.sin(rows / 17 + seed) * np.cos(columns / 23) - 200 + rng.normal(0, 20, (height, width))
    return DecodedFrame(frame_number=seed + 1, values=values.astype(np.float32), sha256=f"{seed}")
