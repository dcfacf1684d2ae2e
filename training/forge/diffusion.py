"""G3: the place is repainted by a small denoising diffusion model. For evaluation alone: never trained on, and slow.

Source: diffusion in-painting as in M3Dsynth (Zingarini et al. 2024): the masked patch is an extra channel; DDPM (Ho
et al. 2020) with a linear schedule, sampled by DDIM (Song et al. 2021), one in four from pure noise, the others from
a noised coarse filling of the hole (SDEdit, Meng et al. 2022), from time 0.4 to 0.7 on. Ranges: 20 to 50 steps for
the whole way, η 0 to 0.5; half injection, half removal, contrasts as pix2pix; 70 % with noise
touch-up, 0.5 to 1 of what is missing, since so small a network leaves some of the grain out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d, interpolate

from training.forge import learned
from training.forge.site import Array, Site, blend

_SMOOTH = {4: "bilinear", 5: "trilinear"}
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
        start = 1.0 if rng.random() < 0.25 else float(rng.uniform(0.4, 0.7))
        generator = learned.generator_of(rng)

        def paint(known: Tensor, hole: Tensor) -> Tensor:
            return sample(self.network, known, hole, contrast, generator, steps=steps, eta=eta, start=start)

        patch, region, _ = learned.painted(site, rng, patch_px=self.patch_px, coarser_chance=0.2, paint=paint)
        if rng.random() < 0.7:
            patch = learned.touched_up(patch, site, region, rng, rng.uniform(0.5, 1.0))
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
    start: float = 1.0,
) -> Tensor:
    """DDIM from time ``start`` (1: pure noise); the network predicts v = √ᾱ ε - √(1-ᾱ) x (Salimans and Ho 2022).

    ``steps`` are those of the whole way. Patches (N, 1, *S), also of three dimensions.
    """
    levels = signal_levels()
    times = np.linspace(TIMES * start - 1, 0, max(2, round(steps * start))).round().astype(int)
    noisy = torch.randn(known.shape, generator=generator)
    if start < 1:
        level = float(levels[times[0]])
        noisy = level**0.5 * DATA_SCALE * _filling(known, hole, contrast) + (1 - level) ** 0.5 * noisy
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


def _filling(known: Tensor, hole: Tensor, contrast: float) -> Tensor:
    """The hole filled with means of what is known about it, ever wider, and a bump of the contrast in its middle."""
    pool = {4: avg_pool2d, 5: avg_pool3d}[known.ndim]
    total, weight, filled = known, 1 - hole, known
    missing = hole
    while float(missing.max()) > 0 and min(total.shape[2:]) >= 2:
        total, weight = pool(total, 2), pool(weight, 2)
        wide = [interpolate(part, known.shape[2:], mode=_SMOOTH[known.ndim]) for part in (total, weight)]
        mean = wide[0] / wide[1].clamp(min=1e-6)
        there = interpolate((weight > 0).float(), known.shape[2:], mode="nearest")
        filled = filled + missing * there * mean
        missing = missing * (1 - there)
    bump = hole
    for _ in range(4):
        bump = pool(bump, 5, stride=1, padding=2)
    return filled + hole * contrast * bump / bump.max().clamp(min=1e-6)
