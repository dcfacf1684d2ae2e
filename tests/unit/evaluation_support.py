"""A table of rows and a context as an evaluation leaves them, small and made up."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluation.rows import CLEAN, Row

LIMITS = {"lossy": False, "several": False, "real_to": 1.0, "fake_from": -0.5}


def row(family: str, score: float, patient: str = "p", outside: str = "", **more: Any) -> Row:
    """One row; probability and verdict follow from the score as LIMITS say."""
    probability = float(1 / (1 + np.exp(-np.clip(score, -60, 60))))
    verdict = "indeterminate"
    if not outside and not -0.5 < score < 1.0:
        verdict = "fake" if score >= 1.0 else "real"
    fields: dict[str, Any] = {
        "name": patient,
        "series": "",
        "position": 0.0,
        "lung_fraction": 1.0,
        "codec": "",
        "detector": "model",
        "probability": None if outside else probability,
        "verdict": verdict,
    }
    return Row(family=family, score=score, patient=patient, outside=outside, **(fields | more))


def rows_of(
    means: dict[str, float], *, patients: int = 30, seed: int = 0, detector: str = "model", **more: Any
) -> list[Row]:
    """One image of each family for each patient, scores drawn about the family's mean (clean: -1)."""
    rng = np.random.default_rng(seed)
    return [
        row(family, float(rng.normal(mean, 0.7)), f"p{number}", detector=detector, **more)
        for number in range(patients)
        for family, mean in ({CLEAN: -1.0} | means).items()
    ]


def probe(name: str, *, near_chance: bool, auc: float = 0.5) -> dict[str, Any]:
    """One probe's result as plain data."""
    return {
        "name": name,
        "what": "what it sees",
        "auc": auc,
        "low": auc - 0.05,
        "high": auc + 0.05,
        "images": 100,
        "patients": 50,
        "near_chance": near_chance,
    }


def context(
    *, probes: Sequence[dict[str, Any]] = (), outside: Sequence[dict[str, Any]] = (), plain: str = ""
) -> dict[str, Any]:
    """What context.json keeps; ``plain`` names a plain baseline."""
    model = {
        "name": "model",
        "kind": "bundle",
        "version": "1.0",
        "model_sha256": "ab" * 32,
        "families": ["noise", "resample"],
        "cell_px": 16,
        "profile": {"contiguous": 3, "slope": 1.0, "intercept": 0.0, "limits": [LIMITS]},
    }
    baseline = (
        [{"name": plain, "kind": "plain network", "families": [], "effort": "9 whole images in 4 minutes"}]
        if plain
        else []
    )
    return {
        "detectors": [model, *baseline],
        "conditions": ["JPEG q90", "resize x0.5"],
        "probes": list(probes),
        "outside": list(outside),
        "history": [{"step": 10, "loss": 0.7, "accuracy": 0.5}, {"step": 20, "loss": 0.4, "accuracy": 0.8}],
        "evaluated": {
            "configuration": "knee-xr",
            "name": "model",
            "version": "1.0",
            "modality": "DX",
            "model_sha256": "ab" * 32,
            "weights_sha256": "cd" * 32,
            "engine": "openvino-bf16",
            "data_sha256": "ef" * 32,
            "reader": "knee",
            "data": [{"name": "knees", "licence": "CC BY 4.0", "source": "a <source>"}],
            "split": {"train": {"images": 60, "patients": 60}, "test": {"images": 30, "patients": 30}},
            "left_out_of_images": [],
            "missing_families": [],
            "extent": {"images": 0},
            "seed": 1,
            "command": "python -m training evaluate --data 'a & b'",
            "date": "2026-01-01 00:00 UTC",
            "machine": {
                "processor": "a processor",
                "cores": 2,
                "memory_gib": 8.0,
                "system": "Linux x86_64",
                "python": "3.11",
                "packages": {"torch": "2"},
            },
            "seconds": 12,
            "scored": 90,
        },
    }
