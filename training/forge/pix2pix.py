"""G1: the place is cut out and repainted by an adversarial in-painter (CT-GAN-like); dense matter put in or taken out.

Source: CT-GAN (Mirsky et al. 2019): removal is an alpha blend, injection pastes what is dense through a sigmoid of
the values and ``np.maximum(blend, original)``, so it can only raise values. Ranges: half injection, contrast in the
upper fifth of the training patches'; half removal, contrast about their median; 30 % on a grid 1.1 to 1.5 times as
coarse; 90 % with noise touch-up, 0.6 to 1.1 of what is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.forge import learned
from training.forge.site import Array, Site, blend


@dataclass(frozen=True, slots=True, kw_only=True)
class Pix2Pix:
    """The family; ``network(known, hole, contrast, noise)`` (N, 1, S, S) each returns the patch (N, 1, S, S)."""

    network: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    patch_px: int
    contrasts: learned.Contrasts

    def __call__(self, site: Site, rng: np.random.Generator) -> Array:
        """Returns the edited image (H, W) float32."""
        inject, contrast = self.contrasts.draw(rng)
        generator = learned.generator_of(rng)

        def paint(known: Tensor, hole: Tensor) -> Tensor:
            noise = torch.randn(known.shape, generator=generator)
            return self.network(known, hole, torch.full_like(known, contrast), noise)

        patch, region, window = learned.painted(site, rng, patch_px=self.patch_px, coarser_chance=0.3, paint=paint)
        if rng.random() < 0.9:
            patch = learned.touched_up(patch, site, region, rng, rng.uniform(0.6, 1.1))
        return pasted(site, patch, region, window, inject=inject)


def pasted(site: Site, patch: Array, region: learned.Region, window: learned.Window, *, inject: bool) -> Array:
    """The image with the patch in it: an alpha blend, or for an injection only what is denser than what was there."""
    original = site.image[region.area]
    if inject:
        dense = 1 / (1 + np.exp(-np.clip((window.normalised(patch) - 0.1) / 0.12, -30, 30)))
        patch = np.maximum(original + dense * (patch - original), original)
    result = site.image.copy()
    result[region.area] = blend(original, patch.astype(np.float32), site.mask[region.area])
    return result
