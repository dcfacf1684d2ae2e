"""Calibration: probability and thresholds from validation patients, or thresholds from a site's own clean images."""

from training.calibration.bundle import calibrate, write
from training.calibration.fitting import Fitted, fit
from training.calibration.temperature import fit_temperature

__all__ = ["Fitted", "calibrate", "fit", "fit_temperature", "write"]
