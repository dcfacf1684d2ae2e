"""Pairs for training: a real crop and its own fake, same place, same degradation, same flips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from medfake_pacs.pixels.preprocess import Preprocessing, prepare
from training.datasets import Sample
from training.degrade import degrade
from training.forge import WHOLE, Forge, Forged
from training.forge.site import Array, Site, noise_sigma, soft_mask

CELL_PX = 32
IGNORED = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How pairs are drawn; lengths in pixels, chances in 0..1."""

    hounsfield: bool
    radius_px: tuple[float, float] = (7.0, 24.0)
    whole_chance: float = 0.2
    stray_chance: float = 0.12
    degrade_chance: float = 0.35
    codec_chance: float = 0.25
    margin_px: int = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``pixels`` (N, C, S, S) float32, ``labels`` (N,) 0 or 1, ``cells`` (N, S/32, S/32) 0, 1 or -1 (ignored)."""

    pixels: Array
    labels: Array
    cells: Array


class Places:
    """Where a sample may be edited: inside the body (CT) or on the bright parts (radiograph)."""

    def __init__(self, sample: Sample, *, hounsfield: bool) -> None:
        smooth = gaussian_filter(sample.image, 4.0)
        inside = np.zeros(smooth.shape, bool)
        inside[24:-24, 24:-24] = True
        lung = inside & (smooth > -930) & (smooth < -500) if hounsfield else inside & (smooth > 25)
        body = inside & (smooth > -900) if hounsfield else lung
        if not lung.any():
            lung = body
        if not lung.any():
            lung = inside
        self._lung = np.flatnonzero(lung).astype(np.int32)
        self._body = np.flatnonzero(body).astype(np.int32) if body.any() else self._lung
        self._width = smooth.shape[1]

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """One place (row, column); seven in ten in the lung where there is one."""
        flat = int(rng.choice(self._lung if rng.random() < 0.7 else self._body))
        return flat // self._width, flat % self._width


class PairSampler:
    """Draws pairs from some samples; every random choice comes from the generator that is given."""

    def __init__(
        self, samples: Sequence[Sample], forge: Forge, preprocessing: Preprocessing, settings: SamplingSettings
    ) -> None:
        self._samples = samples
        self._forge = forge
        self._preprocessing = preprocessing
        self._settings = settings
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
        real, fake = degrade(
            [real, forged.image],
            rng,
            hounsfield=settings.hounsfield,
            chance=settings.degrade_chance,
            codec_chance=settings.codec_chance,
        )
        top, left = crop_corner(real.shape, centre, crop_px, rng)
        area = (slice(top, top + crop_px), slice(left, left + crop_px))
        pixels = [prepare(image, self._preprocessing)[:, *area] for image in (real, fake)]
        if rng.random() < settings.stray_chance:
            pixels[0] = self._stray(crop_px, rng)
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        planes = [_turned(plane, turn, flip) for plane in (*pixels, forged.mask[None, *area])]
        return planes[0], planes[1], cells_of(planes[2][0])

    def forge_window(
        self, number: int, crop_px: int, families: Sequence[str], rng: np.random.Generator
    ) -> tuple[Array, Forged, tuple[int, int]]:
        """A window of one sample around a place, its fake, and the place within the window."""
        image = self._samples[number].image
        centre = self._places[number].draw(rng)
        rows, columns = self._window(image.shape, centre, crop_px)
        site = self._site(number, centre, rows, columns, rng)
        window, inner = site.image, (centre[0] - rows.start, centre[1] - columns.start)
        whole = [family for family in families if family in WHOLE]
        local = [family for family in families if family not in WHOLE]
        if whole and (not local or rng.random() < self._settings.whole_chance):
            local = whole
        return window, self._forge.any_of(local, site, rng), inner

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
        other = self._places[number].draw(rng)
        donor = np.roll(image, (centre[0] - other[0], centre[1] - other[1]), axis=(0, 1))[rows, columns]
        inner = (centre[0] - rows.start, centre[1] - columns.start)
        return make_site(image[rows, columns], donor, inner, rng.uniform(*self._settings.radius_px), rng)

    def _window(self, shape: tuple[int, ...], centre: tuple[int, int], crop_px: int) -> tuple[slice, slice]:
        if self._preprocessing.percentiles is not None:
            return slice(0, shape[0]), slice(0, shape[1])
        side = crop_px + 2 * self._settings.margin_px
        starts = [
            int(np.clip(place - side // 2, 0, max(0, size - side))) for place, size in zip(centre, shape, strict=True)
        ]
        return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)

    def _stray(self, crop_px: int, rng: np.random.Generator) -> Array:
        """A real crop from anywhere, background included."""
        image = self._samples[int(rng.integers(len(self._samples)))].image
        top, left = (int(rng.integers(size - crop_px + 1)) for size in image.shape)
        if self._preprocessing.percentiles is not None:
            return prepare(image, self._preprocessing)[:, top : top + crop_px, left : left + crop_px]
        return prepare(image[top : top + crop_px, left : left + crop_px], self._preprocessing)


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


def cells_of(mask: npt.NDArray[np.float32]) -> Array:
    """A fake's cells: 1 where a quarter or more of the 32×32 cell is edited, else ignored."""
    rows, columns = (-(-size // CELL_PX) for size in mask.shape)
    padded = np.pad(mask, ((0, rows * CELL_PX - mask.shape[0]), (0, columns * CELL_PX - mask.shape[1])))
    share = padded.reshape(rows, CELL_PX, columns, CELL_PX).mean(axis=(1, 3))
    return np.where(share > 0.25, 1.0, IGNORED).astype(np.float32)


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
