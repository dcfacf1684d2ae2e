"""How one model's scores are to be read: probability, and the limits of what is real and what is fake."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medfake_pacs.conformal import Prediction, predict
from medfake_pacs.entities import ModelIdentity, VerdictLabel
from medfake_pacs.prevalence import logistic

# How the reason begins of an image whose kind the model's card has no thresholds for.
NOT_CALIBRATED = "not calibrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Pooled logits up to ``real_to`` are consistent with a real image, those from ``fake_from`` on with a fake one."""

    real_to: float
    fake_from: float

    def predict(self, logit: float) -> Prediction:
        """Return what a pooled logit is consistent with."""
        return predict(logit, real_to=self.real_to, fake_from=self.fake_from)

    def label(self, logit: float) -> VerdictLabel:
        """Return what a pooled logit amounts to; both and neither are indeterminate."""
        found = self.predict(logit)
        if found is Prediction.FAKE:
            return VerdictLabel.FAKE
        return VerdictLabel.REAL if found is Prediction.REAL else VerdictLabel.INDETERMINATE


def limits_for(limits: Mapping[tuple[bool, bool], Limits], *, lossy: bool, windows: int) -> Limits | None:
    """Return which of some limits, by (lossy, several), hold where ``windows`` are pooled; None if none do."""
    several = limits.get((lossy, True)) if windows > 1 else None
    return several or limits.get((lossy, False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one model's scores are to be read; from its card.

    ``contiguous`` neighbouring images are pooled; a pooled logit x means the probability
    ``sigmoid(slope * x + intercept)``. ``limits`` are by (lossy, several): whether the image was compressed with
    loss, and whether its window is one of several. ``modality`` is what the model is for, in words.
    """

    identity: ModelIdentity
    contiguous: int
    slope: float
    intercept: float
    limits: Mapping[tuple[bool, bool], Limits]
    modality: str = ""

    def limits_of(self, *, lossy: bool, windows: int) -> Limits | None:
        """Return the limits for an image of a series of which ``windows`` are pooled; None if it isn't calibrated."""
        return limits_for(self.limits, lossy=lossy, windows=windows)

    @property
    def reads_alike(self) -> bool:
        """Whether the limits for lossy and lossless images are the same."""
        return all(
            self.limits_of(lossy=False, windows=windows) == self.limits_of(lossy=True, windows=windows)
            for windows in (1, 2)
        )

    def strictest(self, *, windows: int) -> Limits | None:
        """Return the limits of the kind of which less is consistent with real."""
        found = [self.limits_of(lossy=lossy, windows=windows) for lossy in (False, True)]
        return min(
            (limits for limits in found if limits), key=lambda item: (item.real_to, item.fake_from), default=None
        )

    def label_of(self, logit: float, *, lossy: bool = False, windows: int = 1) -> VerdictLabel:
        """Return what a pooled logit amounts to for such an image."""
        limits = self.limits_of(lossy=lossy, windows=windows)
        return limits.label(logit) if limits else VerdictLabel.INDETERMINATE

    def probability(self, logit: float) -> float:
        """Return the calibrated probability of fake for a pooled logit."""
        if math.isinf(logit):
            return float(logit > 0)
        return logistic(self.slope * logit + self.intercept)

    def uncalibrated(self, *, lossy: bool) -> str:
        """Say that there are no limits for such an image."""
        kind = " ".join(part for part in ("lossy" if lossy else "lossless", self.modality, "images") if part)
        return f"{NOT_CALIBRATED} for {kind}"

    def undecided(self, logits: Sequence[float], limits: Limits) -> str:
        """Say why these are indeterminate: the only one's probability, or the lowest and the highest."""
        lowest, highest = (f"{self.probability(logit):.3f}" for logit in (min(logits), max(logits)))
        one = lowest == highest
        which = f"probability {lowest} lies" if one else f"probabilities from {lowest} to {highest} lie"
        real_to, fake_from = self.probability(limits.real_to), self.probability(limits.fake_from)
        if limits.fake_from <= limits.real_to:
            return f"{which} between {fake_from:.3f} and {real_to:.3f}"
        return (
            f"{which} above what real images reach ({real_to:.3f}) and below what fakes reach ({fake_from:.3f}): "
            "out of distribution"
        )
