"""How a card says that pooled logits are read: probability, and what is consistent with real and with fake."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite, nextafter
from typing import Literal

from pydantic import ConfigDict

from medfake_pacs import conformal
from medfake_pacs.prevalence import logistic

_STRICT = ConfigDict(extra="forbid")
LOSSLESS, LOSSY = "lossless", "lossy"
# Beyond this many log odds probabilities are 0 or 1 to the last bit; a logit further off than the other isn't one.
_FLAT, _FAR = 800.0, 1e300
Kind = Literal["lossless", "lossy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """probability = sigmoid(slope × logit + intercept), where ``trained_prior`` of the images are fake.

    ``1 / slope`` is the temperature (Guo et al., ICML 2017, arXiv 1706.04599), ``intercept`` the bias.
    """

    __pydantic_config__ = _STRICT
    slope: float
    intercept: float
    trained_prior: float = 0.5

    def __post_init__(self) -> None:
        if not (isfinite(self.slope) and self.slope > 0 and isfinite(self.intercept)):
            raise ValueError("calibration: slope is above 0: a higher logit speaks for fake")
        if not 0 < self.trained_prior < 1:
            raise ValueError("calibration: 0 < trained_prior < 1")

    def probability(self, logit: float) -> float:
        """Return the calibrated probability of fake for a pooled logit."""
        if not isfinite(logit):
            return float(logit > 0)
        return logistic(self.slope * logit + self.intercept)

    def first_logit(self, reached: Callable[[float], bool]) -> float:
        """Return the lowest logit whose probability is ``reached``, to the last bit; infinite where all or none is."""
        low, high = (max(-_FAR, min(_FAR, (z - self.intercept) / self.slope)) for z in (-_FLAT, _FLAT))
        if reached(self.probability(low)):
            return float("-inf")
        if not reached(self.probability(high)):
            return float("inf")
        while low < (middle := low + (high - low) / 2) < high:
            low, high = (low, middle) if reached(self.probability(middle)) else (middle, high)
        return high


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The thresholds of a card of format 1, as probabilities: up to the first is real, from the second on fake."""

    __pydantic_config__ = _STRICT
    real_below: float
    fake_above: float

    def __post_init__(self) -> None:
        if not 0 <= self.real_below <= self.fake_above <= 1:
            raise ValueError("thresholds: 0 <= real_below <= fake_above <= 1")

    def bounds(self, calibration: Calibration) -> tuple[float, float]:
        """Return (highest logit that is consistent with real, lowest with fake) so that probabilities are compared.

        From ``fake_above`` on is fake, also where ``real_below`` is the same; both are met by what they round to.
        """
        fake = calibration.first_logit(lambda probability: probability >= self.fake_above)
        not_real = calibration.first_logit(lambda probability: probability > self.real_below)
        return nextafter(fake, float("-inf")), min(fake, not_real)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One class' bound, a pooled logit, and what it rests on.

    ``alpha`` is the share of the class that may lie beyond ``threshold``. ``method`` "rank": the threshold is the
    conformal rank among ``scores``, sorted; "normal": the scores were too few, so a normal distribution's tail was
    fitted to them, which promises less; "given": taken over from a card of format 1, which doesn't say what its
    thresholds rest on. ``count`` images (or series) of ``patients`` patients.
    """

    __pydantic_config__ = _STRICT
    threshold: float
    alpha: float | None
    method: Literal["rank", "normal", "given"]
    count: int = 0
    patients: int = 0
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not isfinite(self.threshold):
            raise ValueError("a threshold is a finite logit")
        if (self.alpha is None) != (self.method == "given") or not 0 < (self.alpha or 0.5) < 1:
            raise ValueError("alpha lies between 0 and 1; only a threshold that was taken over has none")
        if self.scores and (len(self.scores) != self.count or list(self.scores) != sorted(self.scores)):
            raise ValueError("the scores are sorted, and as many as count says")
        if self.method == "rank" and not self.scores:
            raise ValueError("a threshold by rank has its scores beside it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The two bounds that decide: consistent with real, with fake, with both or neither."""

    __pydantic_config__ = _STRICT
    real: Side
    fake: Side

    def __post_init__(self) -> None:
        for name, side, find in (
            ("real", self.real, conformal.highest_real),
            ("fake", self.fake, conformal.lowest_fake),
        ):
            if side.method == "rank" and side.alpha and find(side.scores, side.alpha) != side.threshold:
                raise ValueError(f"{name}: the threshold isn't the one that follows from its scores and alpha")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """How images of one kind are read: ``image`` where one window is pooled, ``series`` where several are.

    Without ``series`` a window among several is read like a single one: right where nothing is pooled.
    """

    __pydantic_config__ = _STRICT
    image: Reading
    series: Reading | None = None


Strata = Mapping[Kind, Stratum]
