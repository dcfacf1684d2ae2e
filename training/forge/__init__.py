"""The forge: families of manipulations made from an image's own content, or by generators trained here.

Every family is one module with ``apply(site, rng)``; ``Forge`` picks one, applies it, brings the result to
the integers that the image is stored in (a redrawn image to the original's own values, by rank: see ``values``), and
says which pixels changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from training.forge import copymove, inpaint, nodule, noise, poisson, reconstruct, resample, selfblend, upsample
from training.forge.change import VISIBLE_SIGMAS, change_mask, is_visible
from training.forge.site import Array, Site, storage_range
from training.forge.values import flat_ends, with_values_of

__all__ = [
    "LEARNED_LOCAL",
    "LEARNED_WHOLE",
    "LOCAL",
    "VISIBLE_SIGMAS",
    "WEIGHTLESS_WHOLE",
    "WHOLE",
    "Family",
    "Forge",
    "Forged",
    "visible",
]

Family = Callable[[Site, np.random.Generator], Array]

LOCAL: tuple[str, ...] = ("selfblend", "resample", "noise", "copymove", "nodule", "reconstruct", "poisson", "inpaint")
LEARNED_LOCAL: tuple[str, ...] = ("pix2pix", "vae", "diffusion")
LEARNED_WHOLE: tuple[str, ...] = ("vae-whole",)
WEIGHTLESS_WHOLE: tuple[str, ...] = ("upsample", "autoencoder")
# What redraws the whole image, with learned weights or without; everything else edits a place.
WHOLE: tuple[str, ...] = (*WEIGHTLESS_WHOLE, *LEARNED_WHOLE)
_MARGIN_PX = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """A fake: ``image`` (H, W) float32 and ``mask`` (H, W) float32, where it differs from the original.

    The mask is 0 exactly where no pixel changed, and above 0.5 where the change can be seen: its mean over 7×7 px
    is at least half of the noise level. ``visible`` is false where too little of the edit is so.
    """

    image: Array
    mask: Array
    family: str
    visible: bool = True


class Forge:
    """The families by name.

    ``codec`` is what the linear reconstruction learnt from training patients, ``learned`` the families that
    generators trained on training patients give (``training.generators.load``).
    """

    def __init__(self, codec: reconstruct.Codec, learned: Mapping[str, Family] | None = None) -> None:
        self._own: Mapping[str, Family] = {
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
        self._learned: Mapping[str, Family] = dict(learned or {})
        unknown = set(self._learned) - {*LEARNED_LOCAL, *LEARNED_WHOLE}
        if unknown:
            raise ValueError(f"not families of the forge: {', '.join(sorted(unknown))}")

    @property
    def families(self) -> tuple[str, ...]:
        """The names of the families that can be asked for."""
        return (*self._own, *self._learned)

    def apply(self, family: str, site: Site, rng: np.random.Generator, *, cut: bool = True) -> Forged:
        """One fake of one family; whole-image families ignore the site's mask. Same dtype and shape.

        ``cut``: filter the mask's surroundings alone, which is quicker; without, the window is the site as given.

        Raises: ValueError where the family is unknown or its generator isn't there, or the mask is empty.
        """
        if family in WHOLE:
            site = replace(site, mask=np.ones_like(site.mask))
        if family in self._own:
            # Filters need the edit's surroundings only.
            part, area = site.near(_MARGIN_PX if cut else max(site.image.shape))
            result = site.image.copy()
            result[area] = self._own[family](part, rng)
        else:
            result = self._generator(family)(site, rng)
        if family in WHOLE:
            redrawn = ~flat_ends(site.image)
            site = replace(site, mask=redrawn.astype(np.float32))
            result = with_values_of(site.image, result, redrawn, rng)
        return _finished(site, result, family)

    def any_of(self, families: Sequence[str], site: Site, rng: np.random.Generator, *, attempts: int = 4) -> Forged:
        """One fake of a random family, drawn anew until it can be seen.

        After ``attempts`` draws of one family the others have a turn, so that weak families aren't replaced by
        strong ones too soon. The one that changes most where none can be seen (a place without content).
        """
        best: tuple[int, Forged] | None = None
        for family in rng.permutation(list(families)):
            for _ in range(attempts):
                forged = self.apply(str(family), site, rng)
                if forged.visible:
                    return forged
                changed = int((forged.mask > 0.5).sum())
                if best is None or changed > best[0]:
                    best = changed, forged
        if best is None:
            raise ValueError("no family to choose from")
        return best[1]

    def _generator(self, family: str) -> Family:
        if family in self._learned:
            return self._learned[family]
        if family in (*LEARNED_LOCAL, *LEARNED_WHOLE):
            raise ValueError(f"{family} needs its generator: train it by `python -m training generators`")
        raise ValueError(f"no family {family!r}: there are {', '.join(self.families)}")


def _finished(site: Site, result: Array, family: str) -> Forged:
    """The result in the image's own kind of values, and the mask of what changed."""
    result = np.clip(result, *storage_range(site.image))
    if np.array_equal(site.image, np.rint(site.image)):
        result = np.rint(result)
    result = np.where(site.mask > 0, result, site.image).astype(np.float32)
    mask = change_mask(site.image, result, site.mask > 0, site.sigma)
    return Forged(image=result, mask=mask, family=family, visible=is_visible(mask, site.mask > 0.5))
