"""What evaluation compares: anything that scores whole images."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class Detector(Protocol):
    """A detector by name; ``score`` takes images (H, W) float32 in modality units, higher means fake."""

    name: str

    def score(self, images: Sequence[Array]) -> list[float]:
        """One raw score for each image."""
        ...
