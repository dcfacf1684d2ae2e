"""G2: through a convolutional variational autoencoder, in the mask or the whole image.

Source: reconstruction as aligned fakes (B-Free, Guillaro et al. 2025; DDA 2025), as the autoencoder of latent
diffusion leaves it. Ranges: latent noise 0 to 1 of its deviation; 75 % with noise touch-up, 0.4 to 1.1 of
what is missing; local normalisation by the patch about the mask, whole images by their own range.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.forge import learned
from training.forge.site import Array, Site, blend


@dataclass(frozen=True, slots=True, kw_only=True)
class Vae:
    """The family; ``encode`` (N, 1, H, W) → mean and log variance, ``decode`` back; H, W multiples of ``stride``."""

    encode: Callable[[Tensor], tuple[Tensor, Tensor]]
    decode: Callable[[Tensor], Tensor]
    stride: int
    whole: bool = False

    def __call__(self, site: Site, rng: np.random.Generator) -> Array:
        """Returns the edited image (H, W) float32; all of it where ``whole``, whatever the mask."""
        region = (
            learned.Region(rows=slice(0, site.image.shape[0]), columns=slice(0, site.image.shape[1]))
            if self.whole
            else learned.region_about(site.mask, 0.75, 6 * self.stride, self.stride)
        )
        original = site.image[region.area]
        thinned = original[::4, ::4] if self.whole else original
        window = learned.Window.of(thinned, site.sigma)
        patch = self._through(original, window, rng)
        noisy, share = rng.random() < 0.75, rng.uniform(0.4, 1.1)
        if self.whole:
            return learned.touched_up_whole(patch, original, rng, share) if noisy else patch
        if noisy:
            patch = learned.touched_up(patch, site, region, rng, share)
        result = site.image.copy()
        result[region.area] = blend(original, patch, site.mask[region.area])
        return result

    def _through(self, original: Array, window: learned.Window, rng: np.random.Generator) -> Array:
        """Reconstructed; what the window clips is added again."""
        height, width = original.shape
        inside = window.normalised(original)
        padded = np.pad(inside, [(0, -size % self.stride) for size in original.shape], mode="reflect")
        with torch.inference_mode():
            mean, log_variance = self.encode(torch.from_numpy(padded)[None, None])
            noise = torch.randn(mean.shape, generator=learned.generator_of(rng)) * rng.uniform(0, 1)
            decoded = self.decode(mean + noise * torch.exp(0.5 * log_variance))[0, 0].numpy()
        beyond = (original - window.middle) / window.scale - inside
        result = np.clip(decoded[:height, :width], -learned.CLIP, learned.CLIP) + beyond
        return (result * window.scale + window.middle).astype(np.float32)
