"""Pairs for training: a real crop and its own fake, same place, same degradation, same flips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter

from medfake_pacs.pixels.preprocess import Preprocessing, bounds_of, channels_of, rescaled
from training.datasets import Sample
from training.degrade import degrade
from training.forge import WHOLE, Forge, Forged
from training.forge.negatives import negative
from training.forge.site import Array, Site, alike, anatomy, noise_sigma, soft_mask

IGNORED = -1.0
_EDITED, _UNTOUCHED = 0.25, 0.01
# The widest mask reaches 40 px from its centre; an edit isn't cut by the edge of the image.
_RIM_PX = 40
# Below that nothing is left to edit between the two rims.
LEAST_SIDE_PX = 2 * _RIM_PX + 16
_FROM_SKIN_PX = 10
_DONORS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How pairs are drawn; lengths in pixels, chances in 0..1.

    ``negative_chance``: an honest processing of the whole image before the fake is made of it, so that it is no sign
    of a fake; ``degrade_chance`` and ``codec_chance``: of both images afterwards; ``stray_chance``: another real crop
    in the real one's place.
    """

    hounsfield: bool
    radius_px: tuple[float, float] = (7.0, 24.0)
    whole_chance: float = 0.2
    stray_chance: float = 0.12
    negative_chance: float = 0.25
    degrade_chance: float = 0.3
    codec_chance: float = 0.25
    margin_px: int = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``pixels`` (N, C, S, S) float32, ``labels`` (N,) 0 or 1, ``cells`` (N, S/cell, S/cell) 0, 1 or -1 (ignored)."""

    pixels: Array
    labels: Array
    cells: Array


class Places:
    """Where a sample may be edited: in the patient, and seven times in ten in the lung where there is one (CT)."""

    def __init__(self, sample: Sample, *, hounsfield: bool) -> None:
        inside = np.zeros(sample.image.shape, bool)
        inside[_RIM_PX:-_RIM_PX, _RIM_PX:-_RIM_PX] = True
        body = inside & binary_erosion(anatomy(sample.image, hounsfield=hounsfield), iterations=_FROM_SKIN_PX)
        lung = body
        if hounsfield:
            smooth = gaussian_filter(sample.image, 4.0)
            lung = body & (smooth > -930) & (smooth < -500)
        first, second = (self._flat(area, inside) for area in (lung, body))
        self._lung = first if lung.any() else second
        self._body = second
        self._width = sample.image.shape[1]

    @staticmethod
    def _flat(area: npt.NDArray[np.bool_], otherwise: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
        return np.flatnonzero(area if area.any() else otherwise).astype(np.int32)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """One place (row, column)."""
        flat = int(rng.choice(self._lung if rng.random() < 0.7 else self._body))
        return flat // self._width, flat % self._width


class PairSampler:
    """Draws pairs from some samples; every random choice comes from the generator that is given."""

    def __init__(
        self,
        samples: Sequence[Sample],
        forge: Forge,
        preprocessing: Preprocessing,
        settings: SamplingSettings,
        *,
        cell_px: int = 16,
    ) -> None:
        self._samples = samples
        self._forge = forge
        self._preprocessing = preprocessing
        self._settings = settings
        self._cell_px = cell_px
        self._bounds = [bounds_of(sample.image, preprocessing) for sample in samples]
        self._reach_px = max((channel.size // 2 for channel in preprocessing.channels), default=0)
        self._places = [Places(sample, hounsfield=settings.hounsfield) for sample in samples]
        self._weights = _patient_weights(samples)

    def batch(self, pairs: int, crop_px: int, families: Sequence[str], rng: np.random.Generator) -> Batch:
        """A batch of ``pairs`` real crops followed by their ``pairs`` fakes."""
        drawn = [self.pair(crop_px, families, rng) for _ in range(pairs)]
        real, fake, cells = zip(*drawn, strict=True)
        blank = np.zeros_like(np.stack(cells))
        return Batch(
            pixels=np.stack([*real, *fake]),
            labels=np.repeat(np.float32([0, 1]), pairs),
            cells=np.concatenate([blank, np.stack(cells)]),
        )

    def pair(self, crop_px: int, families: Sequence[str], rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """One real crop, its fake (each (C, S, S)) and the fake's cells."""
        number = int(rng.choice(len(self._samples), p=self._weights))
        real, forged, centre = self.forge_window(number, crop_px, families, rng)
        settings = self._settings
        whose = number
        if rng.random() < settings.stray_chance:
            whose, real = self._stray(real.shape, rng)
        real, fake = degrade(
            [real, forged.image],
            rng,
            hounsfield=settings.hounsfield,
            chance=settings.degrade_chance,
            codec_chance=settings.codec_chance,
        )
        top, left = crop_corner(real.shape, centre, crop_px, rng)
        area = (slice(top, top + crop_px), slice(left, left + crop_px))
        pixels = [self._prepared(whose, real, area), self._prepared(number, fake, area)]
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        planes = [_turned(plane, turn, flip) for plane in (*pixels, forged.mask[None, *area])]
        return planes[0], planes[1], cells_of(planes[2][0], self._cell_px)

    def forge_window(
        self, number: int, crop_px: int, families: Sequence[str], rng: np.random.Generator
    ) -> tuple[Array, Forged, tuple[int, int]]:
        """A window of one sample around a place, its fake, and the place within the window."""
        image = self._samples[number].image
        centre = self._places[number].draw(rng)
        rows, columns = self._window(image.shape, centre, crop_px)
        site = self._site(number, centre, rows, columns, rng)
        if rng.random() < self._settings.negative_chance:
            site = self._processed(site, rng)
        window, inner = site.image, (centre[0] - rows.start, centre[1] - columns.start)
        whole = [family for family in self.families_for(number, families) if family in WHOLE]
        local = [family for family in families if family not in WHOLE]
        if whole and (not local or rng.random() < self._settings.whole_chance):
            local = whole
        return window, self._forge.any_of(local, site, rng), inner

    def families_for(self, number: int, families: Sequence[str]) -> tuple[str, ...]:
        """Those families whose fake of a sample differs by nothing but the forgery.

        An image that was compressed with loss, drawn anew as a whole, would be known by the lack of a codec's borders.
        """
        lossy = self._samples[number].lossy
        return tuple(family for family in families if not (lossy and family in WHOLE))

    def place(self, number: int, rng: np.random.Generator) -> tuple[int, int]:
        """A place (row, column) where a sample may be edited."""
        return self._places[number].draw(rng)

    def forge_image(
        self, number: int, family: str, rng: np.random.Generator, centre: tuple[int, int] | None = None
    ) -> Forged:
        """A whole sample (H, W) with one edit of one family, there or anywhere; the mask is the sample's size too."""
        image = self._samples[number].image
        centre = centre or self.place(number, rng)
        rows, columns = self._window(image.shape, centre, 160)
        if family in WHOLE:
            rows, columns = (slice(0, size) for size in image.shape)
        site = self._site(number, centre, rows, columns, rng)
        forged = self._forge.any_of([family], site, rng)
        fake, mask = image.copy(), np.zeros_like(image)
        fake[rows, columns], mask[rows, columns] = forged.image, forged.mask
        return Forged(image=fake, mask=mask, family=family)

    def _site(
        self, number: int, centre: tuple[int, int], rows: slice, columns: slice, rng: np.random.Generator
    ) -> Site:
        image = self._samples[number].image
        other = alike(image, centre, np.array([self._places[number].draw(rng) for _ in range(_DONORS)]))
        donor = _shifted(image, rows, columns, (other[0] - centre[0], other[1] - centre[1]))
        inner = (centre[0] - rows.start, centre[1] - columns.start)
        return make_site(image[rows, columns], donor, inner, rng.uniform(*self._settings.radius_px), rng)

    def _processed(self, site: Site, rng: np.random.Generator) -> Site:
        """The site after one honest processing of image and donor, the same for both."""
        seed = int(rng.integers(2**62))
        image, donor = (
            negative(each, np.random.default_rng(seed), hounsfield=self._settings.hounsfield)
            for each in (site.image, site.donor)
        )
        return replace(site, image=image, donor=donor, sigma=noise_sigma(image))

    def _window(self, shape: tuple[int, ...], centre: tuple[int, int], crop_px: int) -> tuple[slice, slice]:
        side = crop_px + 2 * self._settings.margin_px
        starts = [
            int(np.clip(place - side // 2, 0, max(0, size - side))) for place, size in zip(centre, shape, strict=True)
        ]
        return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)

    def _stray(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, Array]:
        """A window of that shape from anywhere in any sample, background included, and the sample's number."""
        number = int(rng.integers(len(self._samples)))
        image = self._samples[number].image
        top, left = (int(rng.integers(max(0, size - side) + 1)) for size, side in zip(image.shape, shape, strict=True))
        window = image[top : top + shape[0], left : left + shape[1]]
        missing = [(0, side - size) for side, size in zip(shape, window.shape, strict=True)]
        window = np.pad(window, missing, mode="symmetric")
        if rng.random() < self._settings.negative_chance:
            window = negative(window, rng, hounsfield=self._settings.hounsfield)
        return number, window

    def _prepared(self, number: int, window: Array, area: tuple[slice, slice]) -> Array:
        """A part (C, S, S) of a window of a sample, as `prepare` would make it of the whole frame.

        The neighbourhoods at the rim are whole wherever the window goes on; the percentiles are the whole sample's.
        """
        wider, inner = [], []
        for part, size in zip(area, window.shape, strict=True):
            start = max(0, part.start - self._reach_px)
            wider.append(slice(start, min(size, part.stop + self._reach_px)))
            inner.append(slice(part.start - start, part.stop - start))
        values = rescaled(window[tuple(wider)], self._bounds[number])
        return channels_of(values, self._preprocessing)[:, *inner]


def make_site(window: Array, donor: Array, centre: tuple[int, int], radius: float, rng: np.random.Generator) -> Site:
    """The place to edit, with the noise level and range of values about it."""
    near = window[max(0, centre[0] - 32) : centre[0] + 32, max(0, centre[1] - 32) : centre[1] + 32]
    low, high = np.percentile(near, [5, 95])
    return Site(
        image=window,
        mask=soft_mask(window.shape, centre, radius, rng),
        donor=donor,
        sigma=noise_sigma(near),
        spread=float(max(high - low, 8.0)),
    )


def crop_corner(
    shape: tuple[int, ...], centre: tuple[int, int], crop_px: int, rng: np.random.Generator
) -> tuple[int, int]:
    """The top left corner of a crop that holds the centre in its middle half, within the window."""
    corner = [
        int(np.clip(place - rng.uniform(0.25, 0.75) * crop_px, 0, size - crop_px))
        for place, size in zip(centre, shape, strict=True)
    ]
    return corner[0], corner[1]


def cells_of(mask: npt.NDArray[np.float32], cell_px: int) -> Array:
    """A fake's cells: 1 where a quarter or more is visibly edited, 0 where nearly nothing is touched, else ignored."""
    rows, columns = (-(-size // cell_px) for size in mask.shape)
    padded = np.pad(mask, ((0, rows * cell_px - mask.shape[0]), (0, columns * cell_px - mask.shape[1])))
    by_cell = padded.reshape(rows, cell_px, columns, cell_px)
    seen, touched = ((by_cell > level).mean(axis=(1, 3)) for level in (0.5, 0.0))
    return np.where(seen > _EDITED, 1.0, np.where(touched < _UNTOUCHED, 0.0, IGNORED)).astype(np.float32)


def _shifted(image: Array, rows: slice, columns: slice, by: tuple[int, int]) -> Array:
    """The part of an image that lies ``by`` (rows, columns) from the one named; mirrored beyond the edges."""
    places = []
    for part, size, step in zip((rows, columns), image.shape, by, strict=True):
        at = np.abs(np.arange(part.start, min(part.stop, size)) + step)
        places.append(size - 1 - np.abs(size - 1 - at))
    return image[np.ix_(*places)]


def _turned(plane: Array, turn: int, flip: bool) -> Array:
    plane = np.rot90(plane, turn, axes=(1, 2))
    return np.ascontiguousarray(plane[:, :, ::-1] if flip else plane)


def _patient_weights(samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
    """Each patient weighs the square root of its number of images, shared among them."""
    counts: dict[str, int] = {}
    for sample in samples:
        counts[sample.patient] = counts.get(sample.patient, 0) + 1
    weights = np.array([counts[sample.patient] ** -0.5 for sample in samples])
    return weights / weights.sum()
