"""Fits the domain that a card states: components to training images, limits to validation images nobody fitted.

Both see the images as they are and in views: mirrored, shifted and scaled by up to 15 %, with another gamma (0.67
to 1.5), some blurred. Without those a second hospital's radiographs were refused by the hundred.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from medfake_pacs.classifier.anatomy import anatomy
from medfake_pacs.classifier.domain import Space, noise_level
from medfake_pacs.classifier.domains import BLOCKS, LungCtDomain, RadiographDomain
from medfake_pacs.classifier.looks import looks, shrunk

Array = npt.NDArray[np.float32]
# A slice that shows less lung than this is not one of the lung: 2 % of the body.
MIN_LUNG = 0.02
_COMPONENTS = {"shapes": 96, "brightness": 24, "greys": 8, "scales": 3}
# Not the largest distance: one odd view of some hundreds would open the domain to photographs.
_QUANTILE = 0.998
_MARGINS = {"shapes": 1.15, "brightness": 1.25, "greys": 1.25, "scales": 1.5}
_TRAINING_VIEWS, _VALIDATION_VIEWS = 4, 2
_SMALL_PX = 256
# Sharpness differs between sites more than anything else, and a reconstructed fake may have a tenth of the noise.
_NOISE_BELOW, _NOISE_ABOVE = 12.0, 6.0
_SHARE_MARGIN, _MEAN_MARGIN_HU, _SPREAD_MARGIN = 1.5, 60.0, 1.4
# Pneumothorax and bowel fill more than the few patients here show; a body that fills the frame is no body.
_MOST_GAS, _MOST_BODY = 0.3, 0.97


def fit(
    train: Sequence[Array], validation: Sequence[Array], *, hounsfield: bool
) -> tuple[RadiographDomain | LungCtDomain, dict[str, Array]]:
    """The domain of images (H, W) float32 and its tensors; CT of the chest has none, radiographs twelve.

    ``domain.BLOCK.mean`` (D,), ``domain.BLOCK.components`` (K, D) and ``domain.BLOCK.deviation`` (K,) for each block.

    Raises: ValueError where there is no training image, or none that shows lung.
    """
    if not train:
        raise ValueError("a domain needs training images")
    if hounsfield:
        return fit_lung_ct([*train, *validation]), {}
    return fit_radiographs(train, validation)


def fit_lung_ct(images: Sequence[Array]) -> LungCtDomain:
    """The ranges of tissues of those slices (HU) that show lung, half as wide again."""
    found = [shares for shares in map(anatomy, images) if shares and shares["lung"] >= MIN_LUNG]
    if not found:
        raise ValueError("no image shows lung")
    lowest, highest = ({name: pick(each[name] for each in found) for name in found[0]} for pick in (min, max))
    ranges = {name: (lowest[name] / _SHARE_MARGIN, min(highest[name] * _SHARE_MARGIN, 1.0)) for name in found[0]}
    ranges["lung"] = (MIN_LUNG, ranges["lung"][1])
    ranges["gas"] = (0.0, max(ranges["gas"][1], _MOST_GAS))
    ranges["body"] = (ranges["body"][0], min(ranges["body"][1], _MOST_BODY))
    ranges["between"] = (0.0, ranges["between"][1])
    ranges["lung_mean_hu"] = (lowest["lung_mean_hu"] - _MEAN_MARGIN_HU, highest["lung_mean_hu"] + _MEAN_MARGIN_HU)
    ranges["lung_spread_hu"] = (lowest["lung_spread_hu"] / _SPREAD_MARGIN, highest["lung_spread_hu"] * _SPREAD_MARGIN)
    return LungCtDomain(
        min_side_px=_shortest(images),
        max_side_px=max(1024, _longest(images)),
        min_range=200.0,
        noise=_noise_bounds(images),
        ranges={name: (round(low, 4), round(high, 4)) for name, (low, high) in ranges.items()},
    )


def fit_radiographs(train: Sequence[Array], validation: Sequence[Array]) -> tuple[RadiographDomain, dict[str, Array]]:
    """Components of the training images, and limits that 998 of 1000 validation images and views keep, and a margin."""
    rng = np.random.default_rng(0)
    images = [*train, *validation]
    fitted = _blocks(_with_views(_small(train), _TRAINING_VIEWS, rng))
    held = _blocks(_with_views(_small(validation or train), _VALIDATION_VIEWS, rng))
    tensors: dict[str, Array] = {}
    limits = {}
    for block in BLOCKS:
        prefix = f"domain.{block}"
        tensors |= {f"{prefix}.{name}": value for name, value in _components(fitted[block], _COMPONENTS[block]).items()}
        space = Space(tensors, prefix)
        largest = np.quantile([space.distances(row) for row in held[block]], _QUANTILE, axis=0)
        limits[block] = (float(largest[0]) * _MARGINS[block], float(largest[1]) * _MARGINS[block])
    domain = RadiographDomain(
        min_side_px=_shortest(images),
        max_side_px=_longest(images),
        min_range=8.0,
        noise=_noise_bounds(images),
        limits=limits,
    )
    return domain, tensors


def as_mapping(domain: RadiographDomain | LungCtDomain) -> dict[str, object]:
    """The domain as it goes into card.json."""
    return asdict(domain)


def view(image: Array, rng: np.random.Generator) -> Array:
    """The image (H, W) as another site might have it: mirrored, shifted, scaled, of another gamma, some blurred."""
    moved = _moved(image[:, ::-1] if rng.random() < 0.5 else image, rng)
    low, high = np.percentile(moved, [0.5, 99.5])
    scaled = np.clip((moved - low) / max(float(high - low), 1e-6), 0, 1) ** np.exp(rng.uniform(-0.4, 0.4))
    if rng.random() < 0.3:
        scaled = gaussian_filter(scaled, rng.uniform(0.3, 1.2) * len(image) / 400)
    return (scaled * 255).astype(np.float32)


def _moved(image: Array, rng: np.random.Generator) -> Array:
    """A part of the image (85 to 100 % of each side) or all of it with its rim repeated (up to 15 %)."""
    share = rng.uniform(-0.15, 0.15)
    if share < 0:
        pad = [
            (int(-share * size * part), int(-share * size * (1 - part)))
            for size, part in ((image.shape[0], rng.random()), (image.shape[1], rng.random()))
        ]
        return np.pad(image, pad, mode="edge")
    height, width = image.shape
    top, left = (int(rng.uniform(0, share) * size) for size in (height, width))
    return image[top : top + int((1 - share) * height), left : left + int((1 - share) * width)]


def _small(images: Sequence[Array]) -> list[Array]:
    """Large images shrunk to 256×256: views are quicker to make, and coarser features are what is wanted of them."""
    return [shrunk(image, _SMALL_PX) if min(image.shape) > _SMALL_PX else image for image in images]


def _with_views(images: Sequence[Array], count: int, rng: np.random.Generator) -> Iterable[Array]:
    for image in images:
        yield image
        for _ in range(count):
            yield view(image, rng)


def _blocks(images: Iterable[Array]) -> dict[str, Array]:
    rows = [looks(image) for image in images]
    return {block: np.stack([row[block] for row in rows]) for block in BLOCKS}


def _components(rows: Array, count: int) -> dict[str, Array]:
    """Mean, components and deviations of rows (N, D); no more components than the rows can tell."""
    mean = rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((rows - mean).T))
    kept = max(1, min(count, len(rows) // 4, len(values) - 1))
    return {
        "mean": mean.astype(np.float32),
        "components": np.ascontiguousarray(vectors.T[::-1][:kept], np.float32),
        "deviation": np.sqrt(np.maximum(values[::-1][:kept], 1e-9)).astype(np.float32),
    }


def _shortest(images: Sequence[Array]) -> int:
    return min(96, *(min(image.shape) for image in images))


def _longest(images: Sequence[Array]) -> int:
    return 2 * max(max(image.shape) for image in images)


def _noise_bounds(images: Sequence[Array]) -> tuple[float, float]:
    levels = [noise_level(image) for image in images]
    return min(levels) / _NOISE_BELOW, max(levels) * _NOISE_ABOVE
