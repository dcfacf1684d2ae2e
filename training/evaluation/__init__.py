"""Evaluation: a detector scored once on test patients, one table of rows, one report (HTML and JSON) from it."""

from training.baselines.detector import Detector
from training.evaluation.rows import CLEAN, Row, read_rows, write_rows

__all__ = ["CLEAN", "Detector", "Row", "read_rows", "write_rows"]
