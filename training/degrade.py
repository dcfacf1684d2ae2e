"""What honest images go through, done alike to a real image and to its fake: hard negatives on both sides."""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from training.forge.site import Array, coloured_noise, highpass, noise_sigma


def degrade(
    images: list[Array], rng: np.random.Generator, *, hounsfield: bool, chance: float, codec_chance: float
) -> list[Array]:
    """The same random processing for every image (H, W) of the list; whole numbers again afterwards.

    With ``chance``: noise, blur, sharpening or gain. With ``codec_chance``: JPEG (8-bit images, quality 60 to
    98) or JPEG 2000 (CT, ratio 3:1 to 12:1).
    """
    sigma = noise_sigma(images[0])
    if rng.random() < chance:
        choice, amount = int(rng.integers(4)), float(rng.uniform())
        seed = int(rng.integers(2**32))
        images = [_processed(image, choice, amount, sigma, np.random.default_rng(seed)) for image in images]
    images = [np.rint(image) for image in images]
    if not hounsfield:
        images = [np.clip(image, 0, 255) for image in images]
    if rng.random() < codec_chance:
        amount = float(rng.uniform())
        images = [jpeg2000(image, 3 + 9 * amount) if hounsfield else jpeg(image, 60 + 38 * amount) for image in images]
    return [image.astype(np.float32) for image in images]


def _processed(image: Array, choice: int, amount: float, sigma: float, rng: np.random.Generator) -> Array:
    if choice == 0:
        return image + coloured_noise(image.shape, sigma * (0.3 + 0.7 * amount), rng)
    if choice == 1:
        return gaussian_filter(image, 0.35 + 0.55 * amount)
    if choice == 2:
        return image + (0.2 + 0.6 * amount) * highpass(image)
    return image.mean() + (image - image.mean()) * (0.9 + 0.2 * amount)


def jpeg(image: Array, quality: float) -> Array:
    """An 8-bit image through baseline JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=round(quality))
    with Image.open(buffer) as picture:
        return np.asarray(picture, np.float32)


def jpeg2000(image: Array, ratio: float) -> Array:
    """A CT image through lossy JPEG 2000 at a compression ratio, counted on 16 bits."""
    low = float(image.min())
    buffer = io.BytesIO()
    stored = np.clip(image - low, 0, 65535).astype(np.uint16)
    Image.fromarray(stored).save(buffer, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[ratio])
    with Image.open(buffer) as picture:
        return np.asarray(picture).astype(np.float32) + low
