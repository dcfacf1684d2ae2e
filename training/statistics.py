"""The old place of ``training.evaluation.statistics``."""

from training.evaluation.statistics import auc, auc_interval, platt, sigmoid

__all__ = ["auc", "auc_interval", "platt", "sigmoid"]
