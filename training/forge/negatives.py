"""Hard negatives: honest images that look like edited ones to a careless detector. Their label is real.

Source: what the families do locally, done to the whole image, is what scanners, archives and viewers do every day:
other reconstruction kernels and doses, resizing, windows, codecs, burned-in text and markers; and a paste of the
original over itself, which must leave no trace (ablation of the paste itself). "Fake or JPEG?" (Grommelt et al. 2024)
shows what detectors learn without them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, median_filter

from training.degrade import jpeg, jpeg2000
from training.forge.resampling import round_trip
from training.forge.site import Array, blend, coloured_noise, noise_sigma, soft_mask, storage_range

_WINDOWS = ((-600.0, 1500.0), (40.0, 400.0), (400.0, 1800.0), (0.0, 4000.0))
_WORDS = ("L", "R", "AP", "PA", "SUPINE", "PORTABLE", "ERECT", "10 cm", "kV 120", "SE 2", "IM 41", "W 1500 L -600")


class _Kind(Protocol):
    def __call__(self, image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array: ...


def negative(image: Array, rng: np.random.Generator, *, hounsfield: bool, kinds: Sequence[str] | None = None) -> Array:
    """The image (H, W) float32 after one honest processing of a random kind; in the same units, label real.

    ``kinds``: names from ``KINDS``, all where none are given. Whole numbers stay whole numbers, within what the
    image's storage can hold.

    Raises: KeyError where a kind is unknown.
    """
    kind = str(rng.choice(list(KINDS if kinds is None else kinds)))
    result = np.clip(KINDS[kind](image, rng, hounsfield=hounsfield), *storage_range(image))
    if np.array_equal(image, np.rint(image)):
        result = np.rint(result)
    return result.astype(np.float32)


def _blur(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """A smooth kernel: σ 0.35 to 1.3 px."""
    return gaussian_filter(image, rng.uniform(0.35, 1.3))


def _sharpen(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """A sharp kernel or a viewer's unsharp mask: 0.3 to 1.2 of what σ 0.6 to 1.5 px takes away."""
    return image + rng.uniform(0.3, 1.2) * (image - gaussian_filter(image, rng.uniform(0.6, 1.5)))


def _denoise(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """A scanner's noise reduction: median of 3 px, mixed with the original by 0.4 to 1."""
    return image + rng.uniform(0.4, 1.0) * (median_filter(image, size=3) - image)


def _noise(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """Less dose: 0.3 to 1.2 of the image's own level on top."""
    return image + coloured_noise(image.shape, noise_sigma(image) * rng.uniform(0.3, 1.2), rng)


def _resample(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """An archive's or a viewer's resizing: to 0.6 to 0.95 and back, linear or cubic."""
    return round_trip(image, rng.uniform(0.6, 0.95), int(rng.choice([1, 3])), int(rng.choice([1, 3])))


def _gain(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """Another exposure or calibration: gain ±15 % about the mean; CT gain ±3 % and offset ±15 HU."""
    if hounsfield:
        return image * rng.uniform(0.97, 1.03) + rng.uniform(-15, 15)
    return image.mean() + (image - image.mean()) * rng.uniform(0.85, 1.15) + rng.uniform(-8, 8)


def _window(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """A viewer's export: CT in 256 steps of the lung, soft tissue, bone or full window; else a gamma of 0.7 to 1.4."""
    if hounsfield:
        level, width = _WINDOWS[rng.integers(len(_WINDOWS))]
        low = level - width / 2
        return np.rint(np.clip((image - low) / width, 0, 1) * 255) * (width / 255) + low
    low, high = float(image.min()), float(image.max())
    share = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return low + (high - low) * share ** rng.uniform(0.7, 1.4)


def _codec(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """JPEG of quality 40 to 98 where the image has 8 bits, else JPEG 2000 of 3:1 to 20:1."""
    if not hounsfield and storage_range(image) == (0.0, 255.0):
        return jpeg(image, rng.uniform(40, 98))
    return jpeg2000(image, rng.uniform(3, 20))


def _text(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """Burned-in text: one to four lines of 9 to 24 px anywhere, as bright as the image gets or as dark."""

    def draw(canvas: ImageDraw.ImageDraw) -> None:
        for _ in range(rng.integers(1, 5)):
            font = ImageFont.load_default(size=int(rng.integers(9, 25)))
            place = (int(rng.integers(image.shape[1])), int(rng.integers(image.shape[0])))
            canvas.text(place, str(rng.choice(_WORDS)), fill=255, font=font, anchor="mm")

    return _drawn(image, rng, draw)


def _marker(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """A reader's marks: one to three of circle, arrow, ruler and disc, 8 to 60 px, lines of 1 to 3 px."""

    def draw(canvas: ImageDraw.ImageDraw) -> None:
        for _ in range(rng.integers(1, 4)):
            x, y = int(rng.integers(image.shape[1])), int(rng.integers(image.shape[0]))
            size, width, shape = int(rng.integers(8, 61)), int(rng.integers(1, 4)), rng.integers(4)
            if shape == 0:
                canvas.ellipse([x - size // 2, y - size // 2, x + size // 2, y + size // 2], outline=255, width=width)
            elif shape == 1:
                canvas.line([x, y, x + size, y + size // 2], fill=255, width=width)
                canvas.polygon([(x, y), (x + 8, y), (x + 4, y + 8)], fill=255)
            elif shape == 2:
                canvas.line([x, y, x, y + 2 * size], fill=255, width=width)
                for step in range(0, 2 * size, max(4, size // 5)):
                    canvas.line([x, y + step, x + 6, y + step], fill=255, width=1)
            else:
                canvas.ellipse([x - 6, y - 6, x + 6, y + 6], fill=255)

    return _drawn(image, rng, draw)


def _drawn(image: Array, rng: np.random.Generator, draw: Callable[[ImageDraw.ImageDraw], None]) -> Array:
    canvas = Image.new("L", (image.shape[1], image.shape[0]))
    draw(ImageDraw.Draw(canvas))
    low, high = np.percentile(image, [0.5, 99.8])
    return blend(image, np.float32(high if rng.random() < 0.85 else low), np.asarray(canvas, np.float32) / 255)


def _border(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """Collimation or padding: up to 12 % of each side filled with the image's lowest value."""
    result = image.copy()
    top, bottom, left, right = (
        int(rng.uniform(0, 0.12) * size) for size in (*image.shape[:1] * 2, *image.shape[1:] * 2)
    )
    inside = np.zeros(image.shape, bool)
    inside[top : image.shape[0] - bottom, left : image.shape[1] - right] = True
    result[~inside] = image.min()
    return result


def _identity(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> Array:
    """Cut, moved by whole pixels, turned by right angles, and pasted back where it was: the pixels are identical."""
    shift, turns = tuple(int(value) for value in rng.integers(-20, 21, 2)), int(rng.integers(4))
    moved = np.rot90(np.roll(image, shift, (0, 1)), turns)
    patch = np.roll(np.rot90(moved, -turns), (-shift[0], -shift[1]), (0, 1))
    centre = (rng.uniform(0.3, 0.7) * image.shape[0], rng.uniform(0.3, 0.7) * image.shape[1])
    return blend(image, patch, soft_mask(image.shape, centre, rng.uniform(7.0, 24.0), rng))


KINDS: Mapping[str, _Kind] = {
    "blur": _blur,
    "sharpen": _sharpen,
    "denoise": _denoise,
    "noise": _noise,
    "resample": _resample,
    "gain": _gain,
    "window": _window,
    "codec": _codec,
    "text": _text,
    "marker": _marker,
    "border": _border,
    "identity": _identity,
}
