"""Baselines that a model has to beat in the same report: a plain 224-px B4, and hand-made residual statistics."""

from pathlib import Path

from training.baselines.detector import Detector
from training.setting import Setting

__all__ = [
    "Detector",
    "fit_residual_statistics",
    "load_plain224",
    "load_residual_statistics",
    "train_plain224",
]


def train_plain224(
    setting: Setting,
    output: Path,
    budget_s: float,
    threads: int = 0,
    device: str = "auto",
    *,
    images_budget: int | None = None,
) -> Detector:
    raise NotImplementedError


def load_plain224(directory: Path, *, device: str = "auto", threads: int = 0) -> Detector:
    raise NotImplementedError


def fit_residual_statistics(
    setting: Setting, seed: int = 0, images: int = 400, *, output: Path | None = None
) -> Detector:
    raise NotImplementedError


def load_residual_statistics(directory: Path) -> Detector:
    raise NotImplementedError
