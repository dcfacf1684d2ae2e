"""The forge: families of manipulations that need no weights, made from an image's own content.

Every family is one module with ``apply(site, rng)``; ``Forge`` picks one, applies it, brings the result to
the integers that the image is stored in, and says which pixels changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.forge import copymove, inpaint, nodule, noise, poisson, reconstruct, resample, selfblend, upsample
from training.forge.site import Array, Site

Family = Callable[[Site, np.random.Generator], Array]

LOCAL: tuple[str, ...] = ("selfblend", "resample", "noise", "copymove", "nodule", "reconstruct", "poisson", "inpaint")
WHOLE: tuple[str, ...] = ("upsample", "autoencoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """A fake: the image (H, W) float32 and the mask (H, W) float32 of what was meant to change."""

    image: Array
    mask: Array
    family: str


class Forge:
    """The families by name; ``codec`` is what the reconstruction families learnt from training patients."""

    def __init__(self, codec: reconstruct.Codec) -> None:
        self._families: Mapping[str, Family] = {
            "selfblend": selfblend.apply,
            "resample": resample.apply,
            "noise": noise.apply,
            "copymove": copymove.apply,
            "nodule": nodule.apply,
            "reconstruct": partial(reconstruct.apply, codec=codec),
            "poisson": poisson.apply,
            "inpaint": inpaint.apply,
            "upsample": upsample.apply,
            "autoencoder": partial(reconstruct.apply, codec=codec),
        }

    def apply(self, family: str, site: Site, rng: np.random.Generator) -> Forged:
        """One fake of one family; whole-image families ignore the site's mask. Same dtype and shape."""
        if family in WHOLE:
            site = Site(
                image=site.image, mask=np.ones_like(site.mask), donor=site.donor, sigma=site.sigma, spread=site.spread
            )
        result = self._families[family](site, rng)
        low, high = float(site.image.min()), float(site.image.max())
        result = np.where(site.mask > 0, np.clip(np.rint(result), low, high), site.image).astype(np.float32)
        return Forged(image=result, mask=site.mask, family=family)

    def any_of(self, families: Sequence[str], site: Site, rng: np.random.Generator, *, attempts: int = 4) -> Forged:
        """One fake of a random family that changes something visible at all; the last attempt otherwise."""
        for _ in range(attempts):
            forged = self.apply(str(rng.choice(list(families))), site, rng)
            if visible(site, forged):
                break
        return forged


def visible(site: Site, forged: Forged) -> bool:
    """Whether the mean change inside the mask is above a fifth of the noise level."""
    weight = max(float(forged.mask.sum()), 1e-6)
    return float((np.abs(forged.image - site.image) * forged.mask).sum()) / weight > 0.2 * site.sigma
