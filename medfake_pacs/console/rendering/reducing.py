"""Large frames made smaller by a whole factor: what no screen shows isn't kept in memory."""

import numpy as np
import numpy.typing as npt

MAX_SIDE_PX = 4096
Values = npt.NDArray[np.int16] | npt.NDArray[np.float32]


def reduced(values: Values, max_side_px: int) -> tuple[Values, int]:
    """Return the values averaged by the least whole factor that keeps both sides within ``max_side_px``, and it."""
    factor = -(-max(values.shape) // max_side_px)
    if factor <= 1:
        return values, 1
    rows, columns = (side // factor for side in values.shape)
    if not rows or not columns:
        # Not a view, which would keep all of it.
        return values[::factor, ::factor].copy(), factor
    blocks = values[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    means = blocks.mean(axis=(1, 3), dtype=np.float32)
    return (np.rint(means).astype(np.int16) if values.dtype == np.int16 else means), factor
