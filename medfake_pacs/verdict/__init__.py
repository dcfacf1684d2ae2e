"""The verdict stage: pool over neighbouring images, calibrate, compare with thresholds, abstain. Pure functions."""

from medfake_pacs.verdict.assessment import LOCALIZER, AssessedImage, assess_series, assess_study
from medfake_pacs.verdict.profile import NOT_CALIBRATED, Limits, Profile, limits_for

__all__ = [
    "LOCALIZER",
    "NOT_CALIBRATED",
    "AssessedImage",
    "Limits",
    "Profile",
    "assess_series",
    "assess_study",
    "limits_for",
]
