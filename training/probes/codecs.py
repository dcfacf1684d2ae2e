"""The codec swap: real images through one codec and fakes through another, and the other way round."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from training.baselines.detector import Detector
from training.degrade import jpeg, jpeg2000
from training.probes.covered import by_detector
from training.probes.pairs import Item
from training.probes.result import ProbeResult, Scores, changed, measured

Array = npt.NDArray[np.float32]
Codec = Callable[[Array], Array]


def swap(items: Sequence[Item], detector: Detector, *, hounsfield: bool, rounds: int, seed: int) -> list[ProbeResult]:
    """Three results; only the codec of the real images changes within each of the first two.

    What compression takes from the fakes' traces is in both AUCs that are compared, so a change means that the
    detector reads the codec of the real images. The third asks that directly: the same real images, uncompressed
    and compressed.
    """
    name, codec = mild(hounsfield=hounsfield)
    real, fake = ([item for item in items if item.fake is kind] for kind in (False, True))
    packed_real, packed_fake = ([replace(item, image=codec(item.image)) for item in part] for part in (real, fake))
    groups = (real, packed_real, fake, packed_fake)
    scores = [by_detector(detector, [replace(item, fake=True) for item in group]).fake for group in groups]
    patients = [[item.patient for item in group] for group in groups]

    def pair(ours: int, theirs: int) -> Scores:
        return Scores(
            real=scores[ours], real_patients=patients[ours], fake=scores[theirs], fake_patients=patients[theirs]
        )

    drawn = {"rounds": rounds, "seed": seed}
    return [
        changed(
            f"codec swap: real {name}, fake uncompressed",
            "scored by the detector",
            pair(0, 2),
            pair(1, 2),
            **drawn,
        ),
        changed(
            f"codec swap: real uncompressed, fake {name}", "scored by the detector", pair(1, 3), pair(0, 3), **drawn
        ),
        measured(
            f"codec alone: real uncompressed, the same {name}",
            "real images only, scored by the detector: compression must not look like an edit",
            pair(0, 1),
            **drawn,
        ),
    ]


def mild(*, hounsfield: bool) -> tuple[str, Codec]:
    """A lossy codec that archives use: JPEG quality 90 for radiographs, JPEG 2000 at 10:1 for CT."""
    if hounsfield:
        return "J2K 10:1", lambda image: jpeg2000(image, 10)
    return "JPEG q90", lambda image: jpeg(image, 90)
