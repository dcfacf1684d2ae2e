"""What a map of logits is held to: the image's label through its highest cells, and the cells whose truth is known."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from training.sampling import Batch


def pooled(logits: Tensor, positions: int) -> Tensor:
    """The mean of the highest ``positions`` logits of each map (N, h, w), as (N,)."""
    flat = logits.flatten(1)
    return flat.topk(min(positions, flat.shape[1]), dim=1).values.mean(dim=1)


def pair_loss(logits: Tensor, batch: Batch, positions: int, cell_weight: float) -> Tensor:
    """Cross-entropy of the pooled logit, plus that of the cells whose truth is known; both classes weigh the same."""
    labels = torch.from_numpy(batch.labels).to(logits.device)
    cells = torch.from_numpy(batch.cells).to(logits.device)
    whole = binary_cross_entropy_with_logits(pooled(logits, positions), labels)
    each = binary_cross_entropy_with_logits(logits, cells.clamp(min=0), reduction="none")
    known = cells >= 0
    local = _mean(each, known & (cells > 0.5)) + _mean(each, known & (cells < 0.5))
    return whole + cell_weight * local / 2


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
