"""Redrawn images: the values are the original's, and no grid lies where the image begins."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import avg_pool2d, interpolate

from training.forge import WHOLE, Family, Forge, reconstruct
from training.forge.site import Array, Site, noise_sigma
from training.forge.vae import Vae
from training.forge.values import flat_ends, with_values_of

GRID_PX = 8


def picture(seed: int, shape: tuple[int, int] = (150, 161)) -> Array:
    rng = np.random.default_rng(seed)
    rough = gaussian_filter(rng.normal(0, 1, shape), 6)
    return np.rint(rough / rough.std() * 120 - 300 + gaussian_filter(rng.normal(0, 40, shape), 0.5)).astype(np.float32)


def padded_slice(seed: int) -> Array:
    """As CT has it: noise about -1000 HU that is cut at -1024, and a corner of padding at the same value."""
    image = np.maximum(picture(seed) - 500, -1024)
    image[:60, :70] = -1024
    return image


def stretched(seed: int) -> Array:
    """As radiographs have it: eight bits with gaps in the histogram, cut off at both ends."""
    return np.clip(np.rint(np.rint(picture(seed) / 8 + 110) * 1.7), 0, 255).astype(np.float32)


def site_of(image: Array) -> Site:
    return Site(image=image, mask=np.ones_like(image), donor=image, sigma=noise_sigma(image), spread=300.0)


def redrawn(site: Site, rng: np.random.Generator) -> Array:
    """A generator with another range, another brightness, and noise in the padding."""
    return 0.8 * gaussian_filter(site.image, 0.8) + 30 + rng.normal(0, 10, site.image.shape).astype(np.float32)


@pytest.fixture(scope="module")
def codec() -> reconstruct.Codec:
    return reconstruct.fit([picture(seed) for seed in range(3)], np.random.default_rng(0), count=600)


@pytest.fixture(scope="module")
def forge(codec: reconstruct.Codec) -> Forge:
    return Forge(codec, learned={"vae-whole": redrawn})


@pytest.mark.parametrize("make", [padded_slice, stretched, lambda seed: picture(seed) + np.float32(0.25)])
@pytest.mark.parametrize("family", WHOLE)
def test_a_redrawn_image_has_its_originals_values(forge: Forge, family: str, make: Callable[[int], Array]) -> None:
    for seed in range(4):
        image = make(seed)
        fake = forge.apply(family, site_of(image), np.random.default_rng(seed)).image
        assert np.array_equal(np.sort(fake, axis=None), np.sort(image, axis=None))
        assert (fake != image).mean() > 0.3


@pytest.mark.parametrize("family", WHOLE)
def test_padding_stays_padding_and_isnt_called_changed(forge: Forge, family: str) -> None:
    image = padded_slice(1)
    forged = forge.apply(family, site_of(image), np.random.default_rng(0))
    assert (forged.image[:60, :70] == -1024).all()
    assert not forged.mask[:60, :70].any()
    assert (forged.mask[64:, 74:] > 0).mean() > 0.95
    assert not (forged.image != image)[forged.mask == 0].any()
    assert forged.visible


def test_a_place_of_one_value_is_no_fake(forge: Forge) -> None:
    site = site_of(np.full((64, 64), 7, np.float32))
    forged = forge.apply("upsample", site, np.random.default_rng(0))
    assert not forged.visible
    assert np.array_equal(forged.image, site.image)


def test_an_edit_of_a_place_keeps_its_own_values(forge: Forge) -> None:
    image = stretched(2)
    mask = np.zeros_like(image)
    mask[50:90, 50:90] = 1
    forged = forge.apply("reconstruct", replace(site_of(image), mask=mask), np.random.default_rng(0))
    assert not np.array_equal(np.sort(forged.image, axis=None), np.sort(image, axis=None))


def test_what_was_redrawn_is_still_there() -> None:
    """A chequerboard of one level of noise outlives the matching, and places keep their order."""
    image = picture(3)
    board = np.indices(image.shape).sum(axis=0) % 2 * 2 - 1
    result = gaussian_filter(image, 1.0) + 12 * board
    matched = with_values_of(image, result, np.ones(image.shape, bool), np.random.default_rng(0))
    assert (matched * board).mean() > 10 > abs((image * board).mean()) + 5
    order = np.argsort(result, axis=None)
    assert (np.diff(matched.ravel()[order]) >= 0).mean() > 0.99


def test_what_comes_out_equal_isnt_put_in_order_by_place() -> None:
    image = picture(4, (100, 100))
    matched = with_values_of(image, np.zeros_like(image), np.ones(image.shape, bool), np.random.default_rng(0))
    assert abs(matched[:50].mean() - matched[50:].mean()) < 0.1 * matched.std()


def test_ends_are_flat_where_five_by_five_pixels_are() -> None:
    image = picture(5)
    assert not flat_ends(image).any()
    image[10:20, 10:20], image[60:64, 60:80], image[90:95, 30:35] = -2000, -2000, 3000
    expected = np.zeros(image.shape, bool)
    expected[10:20, 10:20] = expected[90:95, 30:35] = True
    assert np.array_equal(flat_ends(image), expected)


def test_patches_lie_on_no_grid_of_eight_pixels(codec: reconstruct.Codec) -> None:
    """White noise comes back best where patches have their middle: by phase, that is the grid."""

    def unevenness(redraw: Callable[[Array, int], Array]) -> float:
        left = np.zeros((160, 160))
        for seed in range(60):
            noise = np.random.default_rng(1000 + seed).normal(0, 50, left.shape).astype(np.float32)
            left += np.square(redraw(noise, seed) - noise)
        by_phase = left.reshape(20, GRID_PX, 20, GRID_PX).mean(axis=(0, 2)) / left.mean()
        return max(float(np.ptp(by_phase.mean(axis=axis))) for axis in (0, 1))

    def drawn(noise: Array, seed: int) -> Array:
        return reconstruct.apply(replace(site_of(noise), sigma=0.0), np.random.default_rng(seed), codec)

    assert 2.5 * unevenness(drawn) < unevenness(lambda noise, seed: reconstruct.reconstructed(noise, codec, 40))


@pytest.mark.parametrize("steps", [(5, 7), (8, 8), (6, 9), (16, 16)])
@pytest.mark.parametrize("shape", [(48, 61), (97, 80)])
def test_any_grid_covers_the_image(steps: tuple[int, int], shape: tuple[int, int]) -> None:
    image = picture(6, shape)
    codec = reconstruct.fit([picture(6)], np.random.default_rng(0), count=1500, components=256)
    for phase in ((0, 0), (steps[0] - 1, 3)):
        result = reconstruct.reconstructed(image, codec, 256, steps=steps, phase=phase)
        assert result.dtype == np.float32
        assert np.allclose(result, image, atol=0.5)


@pytest.mark.parametrize("period", [4, 8])
def test_periodic_patterns_begin_anywhere(forge: Forge, period: int) -> None:
    image = picture(7, (96, 96))
    wave = np.exp(2j * np.pi * np.arange(96) / period)
    found = []
    for seed in range(300):
        change = forge.apply("upsample", site_of(image), np.random.default_rng(seed)).image - image
        for axis in (0, 1):
            found.append(complex((change.mean(axis=axis) * wave).mean()))
    strong = [value for value in found if abs(value) > 6 * np.median(np.abs(found))]
    quarters = Counter(round(np.angle(value) / (np.pi / 2)) % 4 for value in strong)
    assert len(strong) >= 8
    assert set(quarters) == {0, 1, 2, 3}


def vae_of(decode: Callable[[torch.Tensor], torch.Tensor], encode: Callable[[torch.Tensor], torch.Tensor]) -> Family:
    """Through the given mean, without latent noise."""
    return Vae(
        encode=lambda x: (encode(x), torch.full_like(encode(x), -80.0)), decode=decode, stride=GRID_PX, whole=True
    )


def test_a_networks_grid_begins_anywhere_and_the_image_comes_back_in_place() -> None:
    image = picture(8)
    blocks = vae_of(lambda z: interpolate(z, scale_factor=GRID_PX, mode="nearest"), lambda x: avg_pool2d(x, GRID_PX))
    same = vae_of(lambda z: z, lambda x: x)
    borders = set()
    for seed in range(40):
        smooth = site_of(gaussian_filter(image, 6))
        result = blocks(smooth, np.random.default_rng(seed))
        step = np.abs(np.diff(result, axis=0)).mean(axis=1)[: GRID_PX * 18].reshape(18, GRID_PX).mean(axis=0)
        borders.add(int(step.argmax()))
        if seed < 4:
            kept = same(site_of(image), np.random.default_rng(seed)) - image
            assert np.abs(gaussian_filter(kept, 4)).mean() < 8
            corner = np.corrcoef(gaussian_filter(kept + image, 1).ravel(), gaussian_filter(image, 1).ravel())
            assert corner[0, 1] > 0.99
    assert borders == set(range(GRID_PX))
