"""How a bundle's card becomes the verdict's profile."""

from typing import TYPE_CHECKING

from medfake_pacs.entities import ModelIdentity
from medfake_pacs.verdict import Limits, Profile

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle
    from medfake_pacs.classifier.card import Card


def profile_of(bundle: "Bundle", prevalence: float = 0.0) -> Profile:
    """Return how to read the scores of a bundle's model, as its card says.

    ``prevalence`` is the share of images that are taken to be fake where the node works; 0 where nobody says.
    """
    card = bundle.card
    parameters = {
        "weights_sha256": card.weights_sha256,
        "calibration_sha256": bundle.calibration_sha256,
        "contiguous_k": str(card.pooling.contiguous_k),
        "calibration_slope": f"{card.calibration.slope:.6g}",
        "calibration_intercept": f"{card.calibration.intercept:.6g}",
        "trained_prior": repr(card.calibration.trained_prior),
        **_thresholds(card),
    }
    if prevalence:
        # With all its digits: rounded it could be 1, where no probability says anything.
        parameters["prevalence"] = repr(prevalence)
    return Profile(
        identity=ModelIdentity(name=card.name, version=card.version, sha256=bundle.model_sha256, parameters=parameters),
        contiguous=card.pooling.contiguous_k,
        slope=card.calibration.slope,
        intercept=card.calibration.intercept,
        limits={
            key: Limits(real_to=real_to, fake_from=fake_from) for key, (real_to, fake_from) in card.bounds().items()
        },
        modality=card.modality,
    )


def _thresholds(card: "Card") -> dict[str, str]:
    """Return the thresholds as probabilities: without a suffix those of single lossless images."""
    found = {}
    for (lossy, several), (low, high) in card.shown_thresholds().items():
        suffix = "_lossy" * lossy + "_series" * several
        found[f"real_below{suffix}"] = f"{low:.6g}"
        found[f"fake_above{suffix}"] = f"{high:.6g}"
    return found
