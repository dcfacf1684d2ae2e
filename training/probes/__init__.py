"""Shortcut probes: what must not tell a real image from a fake."""

from dataclasses import dataclass

from training.baselines.detector import Detector
from training.setting import Setting

__all__ = ["ProbeResult", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The AUC of one probe with its interval (95 %, patients resampled); ``near_chance``: it holds 0.5."""

    name: str
    what: str
    auc: float
    low: float
    high: float
    images: int
    patients: int
    near_chance: bool


def run(
    setting: Setting, detector: Detector | None = None, *, seed: int = 0, rounds: int = 300, images: int = 200
) -> list[ProbeResult]:
    raise NotImplementedError
