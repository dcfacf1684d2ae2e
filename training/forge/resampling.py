"""Down and up again by interpolation: what a generator that works on its own grid leaves behind.

Used by the ``resample`` family and by others as the trace of a paste. Factors 0.4 to 0.9, orders 0 to 3
(nearest, linear, cubic); CT-GAN goes to 1 mm voxels and back with order 3 (Mirsky et al. 2019).
"""

import numpy as np
from scipy.ndimage import affine_transform, zoom

from training.forge.site import Array


def round_trip(image: Array, factor: float, order_down: int, order_up: int) -> Array:
    """The image (H, W) scaled by ``factor`` and back to its own size."""
    small = zoom(image, factor, order=order_down, mode="reflect", grid_mode=True)
    scale = (image.shape[0] / small.shape[0], image.shape[1] / small.shape[1])
    back = zoom(small, scale, order=order_up, mode="reflect", grid_mode=True)
    return back[: image.shape[0], : image.shape[1]].astype(np.float32)


def warped(
    image: Array,
    rng: np.random.Generator,
    *,
    turn_rad: float,
    scale: tuple[float, float],
    shift_px: float,
    least_px: float = 0.0,
) -> Array:
    """The image rotated, scaled and shifted about its middle by cubic or linear interpolation.

    The shift is ``least_px`` to ``shift_px`` along either axis, in either direction.
    """
    angle = rng.uniform(-turn_rad, turn_rad)
    size = rng.uniform(*scale)
    middle = (np.array(image.shape) - 1) / 2
    offset = rng.uniform(least_px, shift_px, 2) * rng.choice([-1, 1], 2)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / size
    order = int(rng.choice([1, 3]))
    return affine_transform(image, matrix, middle + offset - matrix @ middle, order=order, mode="reflect")
