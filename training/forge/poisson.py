"""G5, Poisson splice: another part of the image pasted by its gradients, at full bit depth.

Source: Poisson image editing (Pérez et al. 2003) as used for pseudo-anomalies (NSA, Schlüter et al. 2022; PII,
Tan et al. 2021). The 8-bit implementations in common libraries don't fit CT, so the equation is solved
here by a sparse solve on the masked pixels. Ranges: normal or mixed gradients, half each;
donor scale 0.7 to 1.3, turn ±30°.
"""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from training.forge.resampling import warped
from training.forge.site import Array, Site

_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def apply(site: Site, rng: np.random.Generator) -> Array:
    """Returns the edited image (H, W) float32."""
    source = warped(site.donor, rng, turn_rad=0.5, scale=(0.7, 1.3), shift_px=4.0)
    return solve(site.image, source, site.mask > 0.5, mixed=bool(rng.random() < 0.5))


def solve(target: Array, source: Array, inside: np.ndarray, *, mixed: bool) -> Array:
    """The target with the source's gradients inside the boolean mask; ``mixed`` takes the stronger gradient.

    The mask must not touch the border.
    """
    rows, columns = np.nonzero(inside)
    if rows.size == 0:
        return target.copy()
    number = np.full(inside.shape, -1, np.int64)
    number[rows, columns] = np.arange(rows.size)
    right = np.zeros(rows.size)
    data, row_index, column_index = [np.full(rows.size, 4.0)], [np.arange(rows.size)], [np.arange(rows.size)]
    for dy, dx in _NEIGHBOURS:
        near = (rows + dy, columns + dx)
        gradient = (source[rows, columns] - source[near]).astype(np.float64)
        own = (target[rows, columns] - target[near]).astype(np.float64)
        right += np.where(np.abs(own) > np.abs(gradient), own, gradient) if mixed else gradient
        neighbour = number[near]
        right[neighbour < 0] += target[near][neighbour < 0]
        linked = np.flatnonzero(neighbour >= 0)
        data.append(np.full(linked.size, -1.0))
        row_index.append(linked)
        column_index.append(neighbour[linked])
    matrix = csr_matrix(
        (np.concatenate(data), (np.concatenate(row_index), np.concatenate(column_index))), shape=(rows.size, rows.size)
    )
    result = target.copy()
    result[rows, columns] = spsolve(matrix, right).astype(np.float32)
    return result
