"""Probabilities from logits: a temperature and a bias, by maximum likelihood on validation images."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

# Holds the slope where the classes are apart altogether and no slope is too steep.
_RIDGE = 1e-4


def fit_temperature(clean: Sequence[float], fake: Sequence[float]) -> tuple[float, float]:
    """Slope (one over the temperature) and intercept of P(fake) = sigmoid(slope · logit + intercept).

    They minimise the negative log-likelihood with both classes weighing the same, so that the probability holds
    where half of the images are fake (Guo et al., ICML 2017, arXiv 1706.04599, with the bias of Platt, 1999).

    Raises: ValueError where fakes score no higher than clean images.
    """
    ours, theirs = np.asarray(clean, float), np.asarray(fake, float)

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        slope, intercept = parameters
        wrong = np.logaddexp(0, slope * ours + intercept).mean() + np.logaddexp(0, -slope * theirs - intercept).mean()
        return float(wrong / 2 + _RIDGE * slope**2)

    slope, intercept = (float(value) for value in minimize(loss, np.array([1.0, 0.0])).x)
    if slope <= 0:
        raise ValueError("validation fakes score no higher than clean images: this model can't be calibrated")
    return slope, intercept
