"""G2: through a convolutional variational autoencoder, in the mask or the whole image.

Source: reconstruction as aligned fakes (B-Free, Guillaro et al. 2025; DDA 2025), as the autoencoder of latent
diffusion leaves it. Ranges: latent noise 0 to 1 of its deviation; 75 % with noise touch-up, 0.4 to 1.1 of
what is missing; local normalisation by the patch about the mask, whole images by their own
range, or one in two place by place, which leaves coarse structure as it is and draws fine structure better. The
network's grid of strides begins anywhere in a whole image; about a mask it lies where the mask is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from training.forge import learned
from training.forge.site import Array, Site, blend

_LOCAL_PX = 33


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
        if self.whole and rng.random() < 0.5:
            middle, scale = _local_maps(original, site.sigma)
        else:
            window = learned.Window.of(original[::4, ::4] if self.whole else original, site.sigma)
            middle, scale = np.float32(window.middle), np.float32(window.scale)
        patch = self._through(original, middle, scale, rng)
        noisy, share = rng.random() < 0.75, rng.uniform(0.4, 1.1)
        if self.whole:
            return learned.touched_up_whole(patch, original, rng, share) if noisy else patch
        if noisy:
            patch = learned.touched_up(patch, site, region, rng, share)
        result = site.image.copy()
        result[region.area] = blend(original, patch, site.mask[region.area])
        return result

    def _through(
        self, original: Array, middle: Array | np.float32, scale: Array | np.float32, rng: np.random.Generator
    ) -> Array:
        """Reconstructed in units of ``scale`` about ``middle``; what is clipped there is added again."""
        normalised = (original - middle) / scale
        inside = np.clip(normalised, -learned.CLIP, learned.CLIP)
        first = [int(rng.integers(self.stride)) if self.whole else 0 for _ in original.shape]
        pad = [(before, -(before + size) % self.stride) for before, size in zip(first, original.shape, strict=True)]
        padded = np.pad(inside, pad, mode="reflect")
        with torch.inference_mode():
            mean, log_variance = self.encode(torch.from_numpy(padded)[None, None])
            noise = torch.randn(mean.shape, generator=learned.generator_of(rng)) * rng.uniform(0, 1)
            decoded = self.decode(mean + noise * torch.exp(0.5 * log_variance))[0, 0].numpy()
        back = tuple(slice(before, before + size) for before, size in zip(first, original.shape, strict=True))
        result = np.clip(decoded[back], -learned.CLIP, learned.CLIP) + (normalised - inside)
        return (result * scale + middle).astype(np.float32)


def _local_maps(image: Array, sigma: float) -> tuple[Array, Array]:
    """Each pixel's own window: the mean of 33 px about it, and four deviations, as wide as a patch's window is."""
    middle = uniform_filter(image, _LOCAL_PX, mode="reflect")
    variance = uniform_filter(image**2, _LOCAL_PX, mode="reflect") - middle**2
    return middle, np.maximum(4 * np.sqrt(np.maximum(variance, 0)), max(8 * sigma, 1.0)).astype(np.float32)
