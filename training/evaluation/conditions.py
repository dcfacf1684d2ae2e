"""What images go through before they are scored, to see what a detector stands: both classes through the same.

Codecs: JPEG for radiographs, JPEG 2000 at ratios counted on the stored bits (CT 16, radiographs 8). 15:1 for CT and
30:1 for radiographs are the highest ratios of the Canadian Association of Radiologists' 2008 standard.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import zoom

from training.degrade import jpeg, jpeg2000
from training.forge.negatives import KINDS, negative

Array = npt.NDArray[np.float32]
# Hounsfield units and the grey levels of an 8-bit radiograph that are about the same part of the usual range of values.
NOISE = {5.0: 1.0, 10.0: 2.0, 20.0: 4.0, 40.0: 8.0}
WINDOWS: Mapping[str, tuple[float, float]] = {
    "lung -600/1500": (-1350.0, 150.0),
    "mediastinum 40/400": (-160.0, 240.0),
    "bone 400/1800": (-500.0, 1300.0),
}
_CT_RANGE = (-1024.0, 3071.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One kind of processing of an image (H, W); ``lossy`` for compression. ``change`` draws from the generator."""

    name: str
    kind: str
    change: Callable[[Array, np.random.Generator], Array]
    lossy: bool = False

    def apply(self, image: Array, name: str) -> Array:
        """The image after the processing; what is drawn depends on the image's name and the condition alone.

        So an image and its fake, which have one name, go through the same.
        """
        return self.change(image, np.random.default_rng([crc32(name.encode()), crc32(self.name.encode())]))


def grid(*, hounsfield: bool) -> tuple[Condition, ...]:
    """Every condition of the robustness grid, in the order of the report."""
    found = [] if hounsfield else [_codec(f"JPEG q{quality}", partial(jpeg, quality=quality)) for quality in _JPEG]
    compress = jpeg2000 if hounsfield else jpeg2000_of_bytes
    found += [_codec(f"J2K {ratio}:1", partial(compress, ratio=ratio)) for ratio in (5, 10, 15, 30)]
    for factor in (0.5, 0.75, 1.25, 2.0):
        found.append(_change(f"resize x{factor:g}", "resize", partial(resized, factor=factor, hounsfield=hounsfield)))
    for units, levels in NOISE.items():
        name = f"noise {units:g} HU" if hounsfield else f"noise {levels:g} grey levels"
        sigma = units if hounsfield else levels
        found.append(Condition(name=name, kind="noise", change=partial(noisy, sigma=sigma, hounsfield=hounsfield)))
    if hounsfield:
        found += [
            _change(f"window {name}", "window", partial(windowed, low=low, high=high))
            for name, (low, high) in WINDOWS.items()
        ]
        found.append(_change("8 bit", "bits", eight_bit))
    else:
        found.append(_change("12 bit", "bits", lambda image: np.rint(image * (4095 / 255)).astype(np.float32)))
    found.append(_change("rotated 90°", "turn", lambda image: np.ascontiguousarray(np.rot90(image))))
    found.append(_change("mirrored", "turn", lambda image: np.ascontiguousarray(image[:, ::-1])))
    return tuple(found)


_JPEG = (95, 90, 80, 70, 50, 30)


def honest(*, hounsfield: bool) -> tuple[Condition, ...]:
    """Honest processing of every kind of ``training.forge.negatives``: it makes no image a fake."""
    return tuple(
        Condition(
            name=f"honest {kind}",
            kind="honest",
            change=partial(_negative, kind=kind, hounsfield=hounsfield),
            lossy=kind == "codec",
        )
        for kind in KINDS
    )


def _negative(image: Array, rng: np.random.Generator, *, kind: str, hounsfield: bool) -> Array:
    return negative(image, rng, hounsfield=hounsfield, kinds=[kind])


def _codec(name: str, apply: Callable[[Array], Array]) -> Condition:
    return replace(_change(name, "codec", apply), lossy=True)


def _change(name: str, kind: str, apply: Callable[[Array], Array]) -> Condition:
    return Condition(name=name, kind=kind, change=lambda image, _rng: apply(image))


def jpeg2000_of_bytes(image: Array, ratio: float) -> Array:
    """An 8-bit image through lossy JPEG 2000 at a compression ratio, counted on 8 bits."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    picture.save(buffer, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[ratio])
    with Image.open(buffer) as decoded:
        return np.asarray(decoded).astype(np.float32)


def resized(image: Array, factor: float, *, hounsfield: bool) -> Array:
    """The image at another size, cubic spline, low-passed before it is made smaller."""
    smooth = image
    if factor < 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        smooth = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        return _whole(smooth, hounsfield=hounsfield)
    return _whole(zoom(smooth, factor, order=3, mode="mirror"), hounsfield=hounsfield)


def noisy(image: Array, rng: np.random.Generator, sigma: float, *, hounsfield: bool) -> Array:
    """White noise on top."""
    return _whole(image + rng.normal(0, sigma, image.shape), hounsfield=hounsfield)


def windowed(image: Array, low: float, high: float) -> Array:
    """What a window leaves of a CT image: values beyond it are cut off, 256 steps within it."""
    step = (high - low) / 255
    return (np.rint((np.clip(image, low, high) - low) / step) * step + low).astype(np.float32)


def eight_bit(image: Array) -> Array:
    """A CT image in 256 steps from −1024 to 3071 HU."""
    return windowed(image, *_CT_RANGE)


def _whole(image: Array, *, hounsfield: bool) -> Array:
    whole = np.rint(image)
    return (whole if hounsfield else np.clip(whole, 0, 255)).astype(np.float32)
