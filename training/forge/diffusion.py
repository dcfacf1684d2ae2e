"""G3: the place is repainted by a small denoising diffusion model. For evaluation alone: never trained on, and slow.

Source: diffusion in-painting as in M3Dsynth (Zingarini et al. 2024): the masked patch is an extra channel; DDPM (Ho
et al. 2020) with a linear schedule, sampled by DDIM (Song et al. 2021). Ranges: 20 to 50 steps, η 0 to 0.5; half
injection, half removal, contrasts as pix2pix; no noise touch-up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.forge import learned
from training.forge.site import Array, Site, blend

TIMES = 1000
DATA_SCALE = 3.0
"""Normalised values times this have about unit variance, as the noise has."""


def signal_levels() -> Tensor:
    """The cumulative product of 1 - β, β linear from 1e-4 to 0.02, as (TIMES,) float64 (Ho et al. 2020)."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, TIMES, dtype=torch.float64), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diffusion:
    """The family; ``network(noisy, known, hole, contrast, time)`` returns the velocity (N, 1, S, S), time in 0..1."""

    network: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
    patch_px: int
    contrasts: learned.Contrasts

    def __call__(self, site: Site, rng: np.random.Generator) -> Array:
        """Returns the edited image (H, W) float32."""
        _, contrast = self.contrasts.draw(rng)
        steps, eta = int(rng.integers(20, 51)), float(rng.uniform(0, 0.5))
        generator = learned.generator_of(rng)

        def paint(known: Tensor, hole: Tensor) -> Tensor:
            return sample(self.network, known, hole, contrast, generator, steps=steps, eta=eta)

        patch, region, _ = learned.painted(site, rng, patch_px=self.patch_px, coarser_chance=0.2, paint=paint)
        result = site.image.copy()
        result[region.area] = blend(site.image[region.area], patch, site.mask[region.area])
        return result


def sample(
    network: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor],
    known: Tensor,
    hole: Tensor,
    contrast: float,
    generator: torch.Generator,
    *,
    steps: int,
    eta: float,
) -> Tensor:
    """DDIM from pure noise; the network predicts v = √ᾱ ε - √(1-ᾱ) x (Salimans and Ho 2022)."""
    levels = signal_levels()
    times = np.linspace(TIMES - 1, 0, steps).round().astype(int)
    noisy = torch.randn(known.shape, generator=generator)
    contrasts = torch.full_like(known, contrast)
    for time, following in zip(times, [*times[1:], -1], strict=True):
        level = float(levels[time])
        after = float(levels[following]) if following >= 0 else 1.0
        velocity = network(noisy, known, hole, contrasts, torch.full((len(known),), time / TIMES))
        clean = level**0.5 * noisy - (1 - level) ** 0.5 * velocity
        clean = torch.clamp(clean, -learned.CLIP * DATA_SCALE, learned.CLIP * DATA_SCALE)
        noise = (noisy - level**0.5 * clean) / (1 - level) ** 0.5
        spread = eta * ((1 - after) / (1 - level)) ** 0.5 * (1 - level / after) ** 0.5
        noisy = after**0.5 * clean + max(1 - after - spread**2, 0.0) ** 0.5 * noise
        if spread > 0:
            noisy = noisy + spread * torch.randn(known.shape, generator=generator)
    return noisy / DATA_SCALE
