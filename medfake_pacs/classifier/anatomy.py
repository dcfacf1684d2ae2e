"""What a CT slice holds: how much of it is body, and how much of the body is lung, soft tissue, bone and gas.

Hounsfield units mean the same on every scanner (air -1000, water 0), so these shares travel between hospitals
better than any picture of where things lie. Everything is counted on the frame shrunk to 128×128: its noise and
any local edit average out.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes, binary_opening, label

from medfake_pacs.classifier.looks import shrunk

Array = npt.NDArray[np.float32]
_SIDE_PX = 128
_BODY_HU = -400.0
_LUNG_HU = (-960.0, -450.0)
_BETWEEN_HU = (-450.0, -200.0)
_SOFT_TISSUE_HU = (-150.0, 200.0)
_BONE_HU = 250.0

# What is said of a slice that has too much or too little of something.
WORDS = {
    "body": "the body's share of the image",
    "lung": "lung",
    "soft_tissue": "soft tissue",
    "bone": "bone and contrast medium",
    "gas": "gas outside of lung",
    "between": "values between lung and fat",
    "lung_mean_hu": "the lung's mean value",
    "lung_spread_hu": "the spread of values in the lung, its vessels",
}


def anatomy(frame: Array) -> dict[str, float]:
    """Shares of a slice (H, W) in HU; empty where nothing in it is as dense as a body.

    ``body``: of the image; the largest connected part above -400 HU with what it encloses. Of the body: ``lung``
    (-960 to -450 HU, without rims of a pixel's width), ``soft_tissue`` (-150 to 200), ``bone`` (above 250), ``gas``
    (below -960) and ``between`` (-450 to -200, where a body has little but partial volumes and a picture of anything
    else has much). ``lung_mean_hu`` and ``lung_spread_hu``: mean and standard deviation within the lung.
    """
    small = shrunk(np.clip(frame, -1024, 2000), _SIDE_PX)
    parts, count = label(small > _BODY_HU)
    if not count:
        return {}
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    body = binary_fill_holes(parts == sizes.argmax())
    inside = small[body]
    lung = small[binary_opening((small > _LUNG_HU[0]) & (small < _LUNG_HU[1]) & body)]
    return {
        "body": float(body.mean()),
        "lung": lung.size / inside.size,
        "soft_tissue": _share(inside, *_SOFT_TISSUE_HU),
        "bone": _share(inside, _BONE_HU, np.inf),
        "gas": _share(inside, -np.inf, _LUNG_HU[0]),
        "between": _share(inside, *_BETWEEN_HU),
        "lung_mean_hu": float(lung.mean()) if lung.size else 0.0,
        "lung_spread_hu": float(lung.std()) if lung.size else 0.0,
    }


def _share(values: Array, low: float, high: float) -> float:
    return float(((values > low) & (values < high)).mean())
