"""How a bundle's card becomes the verdict's profile."""

from typing import TYPE_CHECKING

from medfake_pacs.entities import ModelIdentity
from medfake_pacs.verdict import Profile

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle


def profile_of(bundle: "Bundle") -> Profile:
    """Return how to read the scores of a bundle's model, as its card says."""
    card = bundle.card
    thresholds = card.thresholds
    return Profile(
        identity=ModelIdentity(
            name=card.name,
            version=card.version,
            sha256=bundle.model_sha256,
            parameters={
                "weights_sha256": card.weights_sha256,
                "real_below": f"{thresholds.real_below:.6g}",
                "fake_above": f"{thresholds.fake_above:.6g}",
                "contiguous_k": str(card.pooling.contiguous_k),
                "calibration_slope": f"{card.calibration.slope:.6g}",
                "calibration_intercept": f"{card.calibration.intercept:.6g}",
            },
        ),
        contiguous=card.pooling.contiguous_k,
        slope=card.calibration.slope,
        intercept=card.calibration.intercept,
        real_below=thresholds.real_below,
        fake_above=thresholds.fake_above,
    )
