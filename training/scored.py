"""The old place of ``training.evaluation``'s rows."""

from training.evaluation.rows import CLEAN, Row
from training.evaluation.series import best_run

__all__ = ["CLEAN", "Row", "best_run"]
