"""Fits the domain that a card states to the training images, and its bounds to training and validation images."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt

from medfake_pacs.classifier.card import Domain
from medfake_pacs.classifier.domain import DomainCheck, features, noise_ratio

Array = npt.NDArray[np.float32]
_COMPONENTS = 24
_MARGIN = 1.25
_NOISE_MARGIN = 4.0


def fit(train: Sequence[Array], validation: Sequence[Array], *, hounsfield: bool) -> tuple[Domain, dict[str, Array]]:
    """The domain and its tensors: domain.mean (D,), domain.components (K, D), domain.deviation (K,).

    The components are those of the training images, mirrored, and shifted and scaled by up to 10 %. The bounds
    are the largest values seen on training and validation images, a quarter wider; noise, four times wider.
    """
    value_range = (-1000.0, 300.0) if hounsfield else None
    rng = np.random.default_rng(0)
    images = [*train, *validation]
    domain = Domain(
        min_side_px=min(96, *(min(image.shape) for image in images)),
        max_side_px=max(1024 if hounsfield else 0, *(2 * max(image.shape) for image in images)),
        min_range=200.0 if hounsfield else 8.0,
        noise=_noise_bounds(images),
        thumbnail_px=16,
        thumbnail_range=value_range,
        max_distance=0.0,
        max_residual=0.0,
    )
    views = np.stack([features(_moved(image, rng), 16, value_range) for image in train for _ in range(8)])
    mean = views.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((views - mean).T))
    tensors = {
        "domain.mean": mean.astype(np.float32),
        "domain.components": np.ascontiguousarray(vectors.T[::-1][:_COMPONENTS], np.float32),
        "domain.deviation": np.sqrt(values[::-1][:_COMPONENTS]).astype(np.float32),
    }
    check = DomainCheck(domain, tensors)
    distances = np.array([check.distances(image) for image in images])
    within, off = distances.max(axis=0) * _MARGIN
    return replace(domain, max_distance=float(within), max_residual=float(off)), tensors


def as_mapping(domain: Domain) -> dict[str, object]:
    """The domain as it goes into card.json."""
    return asdict(domain)


def _noise_bounds(images: Sequence[Array]) -> tuple[float, float]:
    ratios = [noise_ratio(image) for image in images]
    return min(ratios) / _NOISE_MARGIN, max(ratios) * _NOISE_MARGIN


def _moved(image: Array, rng: np.random.Generator) -> Array:
    """The image mirrored at random, and a part of it (90 to 100 % of each side) or all of it with its rim repeated."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    height, width = image.shape
    share = rng.uniform(-0.1, 0.1)
    if share < 0:
        pad = [
            (int(-share * size * part), int(-share * size * (1 - part)))
            for size, part in ((height, rng.random()), (width, rng.random()))
        ]
        return np.pad(image, pad, mode="edge")
    top, left = (int(rng.uniform(0, share) * size) for size in (height, width))
    return image[top : top + int((1 - share) * height), left : left + int((1 - share) * width)]
