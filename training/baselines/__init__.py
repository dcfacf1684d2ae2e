"""Baselines that a model has to beat in the same report: a plain 224-px B4, and hand-made residual statistics."""

from training.baselines.detector import Detector
from training.baselines.plain_network import Plain224, load_plain224
from training.baselines.plain_training import train_plain224
from training.baselines.residual_statistics import (
    ResidualStatistics,
    fit_residual_statistics,
    load_residual_statistics,
)

__all__ = [
    "Detector",
    "Plain224",
    "ResidualStatistics",
    "fit_residual_statistics",
    "load_plain224",
    "load_residual_statistics",
    "train_plain224",
]
