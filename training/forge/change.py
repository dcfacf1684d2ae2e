"""Which pixels an edit changed, and whether that can be seen."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from training.forge.site import Array

# A change is counted where its mean over 7×7 px is half of the noise level: fresh noise of the same level gives
# 1.13, the loss of all noise 0.8, what rounding and a feather's tail leave 0.2 or less.
VISIBLE_SIGMAS = 0.5
_VISIBLE_LEAST = 0.25  # units of the stored values, where there is hardly any noise
_NEIGHBOURHOOD_PX = 7
_VISIBLE_SHARE = 0.3
_VISIBLE_PX = 50


def change_mask(before: Array, after: Array, meant: npt.NDArray[np.bool_], sigma: float) -> Array:
    """How visibly each place of an image (H, W) or of the slices of a volume (Z, H, W) changed, 0..1 float32.

    0 exactly where no pixel changed and none was ``meant`` to; above 0.5 where the mean change over 7×7 px is at
    least half of the noise level ``sigma``; 1 from one and a half times that on.
    """
    bound = max(VISIBLE_SIGMAS * sigma, _VISIBLE_LEAST)
    change = np.abs(after - before)
    size = (1,) * (change.ndim - 2) + (_NEIGHBOURHOOD_PX, _NEIGHBOURHOOD_PX)
    near = uniform_filter(change, size, mode="constant") / bound
    touched = (meant & (near > 1e-3)) | (change > 0)
    return np.where(touched, np.clip(near - 0.5, 0.01, 1.0), 0).astype(np.float32)


def is_visible(mask: Array, meant: npt.NDArray[np.bool_]) -> bool:
    """Whether an edit is worth the name: 0.3 of the area that was meant, and 50 px, change visibly."""
    return bool((mask > 0.5).sum() >= max(_VISIBLE_SHARE * float(meant.sum()), _VISIBLE_PX))
