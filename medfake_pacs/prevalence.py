"""What a calibrated probability comes to where fakes are rarer than among the images of the calibration.

A model's probability holds where as many of the images are fake as in its calibration, mostly one half. Where one in a
thousand is, the same score means much less: by Bayes' rule its log odds move by the difference of the two priors' log
odds (Saerens, Latinne, Decaestecker, Neural Computation 14, 2002). Verdicts don't depend on it.
"""

import math
from dataclasses import dataclass

from medfake_pacs.entities import SeriesVerdict, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class AtPrevalence:
    """A probability of fake where ``prevalence`` of the images are fake."""

    prevalence: float
    probability: float

    @property
    def sentence(self) -> str:
        """Say it in words, without a full stop."""
        return f"Where {percent(self.prevalence)} of the images are fake, the probability is {shown(self.probability)}"


def at_prevalence(probability: float, *, trained_prior: float, prevalence: float) -> float:
    """Return the probability where ``prevalence`` of the images are fake, from that where ``trained_prior`` are."""
    if probability in (0.0, 1.0):
        return probability
    if prevalence in (0.0, 1.0):
        return prevalence
    odds = _log_odds(probability) + _log_odds(prevalence) - _log_odds(trained_prior)
    return logistic(odds)


def logistic(log_odds: float) -> float:
    """Return the probability that some log odds stand for, also where they are far from zero."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    return math.exp(log_odds) / (1.0 + math.exp(log_odds))


def of_series(series: SeriesVerdict) -> AtPrevalence | None:
    """Return a series' probability at the prevalence that its verdict was made with; None where none was configured."""
    said = series.model.parameters if series.model else {}
    if series.probability is None or "prevalence" not in said:
        return None
    prevalence = float(said["prevalence"])
    adjusted = at_prevalence(
        series.probability, trained_prior=float(said.get("trained_prior", 0.5)), prevalence=prevalence
    )
    return AtPrevalence(prevalence=prevalence, probability=adjusted)


def of_study(verdict: Verdict) -> AtPrevalence | None:
    """Return the highest of a study's series; None where no prevalence was configured."""
    found = [each for each in map(of_series, verdict.series) if each]
    return max(found, key=lambda each: each.probability, default=None)


def percent(share: float) -> str:
    """Return a share as a percentage with as many digits as it needs."""
    # Near the whole its three digits would make it that.
    return f"{100 * share:.3g} %" if share < 0.999 or share == 1 else f"{100 * share:.15g} %"


def shown(probability: float) -> str:
    """Return a probability with three decimals, or as below one in a thousand."""
    return "below 0.001" if probability < 0.0005 else f"{probability:.3f}"


def _log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)
