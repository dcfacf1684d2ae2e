"""The forge: every family changes what its mask says, keeps shape and type, and differs from the others."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from training.forge import LOCAL, WHOLE, Forge, reconstruct
from training.forge.poisson import solve
from training.forge.site import Array, Site, noise_sigma, soft_mask


def picture(seed: int, side: int = 160) -> Array:
    rng = np.random.default_rng(seed)
    rough = gaussian_filter(rng.normal(0, 1, (side, side)), 6)
    smooth = rough / rough.std() * 120
    return np.rint(smooth - 500 + gaussian_filter(rng.normal(0, 1, (side, side)), 0.5) * 40).astype(np.float32)


@pytest.fixture(scope="module")
def forge() -> Forge:
    codec = reconstruct.fit([picture(seed) for seed in range(3)], np.random.default_rng(0), count=600)
    return Forge(codec)


def make_site(seed: int) -> Site:
    image = picture(seed)
    mask = soft_mask(image.shape, (80, 75), 18, np.random.default_rng(seed))
    return Site(image=image, mask=mask, donor=picture(seed + 50), sigma=noise_sigma(image), spread=300.0)


@pytest.mark.parametrize("family", [*LOCAL, *WHOLE])
def test_a_fake_differs_where_the_mask_is_and_nowhere_else(forge: Forge, family: str) -> None:
    for seed in range(4):
        site = make_site(seed)
        forged = forge.apply(family, site, np.random.default_rng(seed))
        assert forged.image.dtype == np.float32
        assert forged.image.shape == forged.mask.shape == site.image.shape
        changed = forged.image != site.image
        assert not changed[forged.mask == 0].any()
        assert changed[forged.mask > 0.5].mean() > 0.2
        assert bool(forged.mask.min() == 1) is (family in WHOLE)
        assert np.array_equal(forged.image, np.rint(forged.image))
        assert forged.image.min() >= site.image.min()
        assert forged.image.max() <= site.image.max()


@pytest.mark.parametrize("family", [*LOCAL, *WHOLE])
def test_a_fake_is_drawn_by_its_generator_alone(forge: Forge, family: str) -> None:
    site = make_site(1)
    first, again, other = (forge.apply(family, site, np.random.default_rng(seed)).image for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_poisson_solve_returns_the_image_for_its_own_gradients() -> None:
    image = picture(2)
    inside = soft_mask(image.shape, (80, 80), 20, np.random.default_rng(0)) > 0.5
    assert np.allclose(solve(image, image, inside, mixed=False), image, atol=0.05)


def test_masks_are_soft_and_clear_of_the_border() -> None:
    for seed in range(20):
        mask = soft_mask((96, 96), (20, 70), 24, np.random.default_rng(seed))
        assert mask.max() > 0.9
        assert ((mask > 0.1) & (mask < 0.9)).any()
        assert mask[0].max() == mask[-1].max() == mask[:, 0].max() == mask[:, -1].max() == 0


def test_full_rank_reconstruction_is_the_image() -> None:
    image = picture(4)
    codec = reconstruct.fit([image], np.random.default_rng(0), count=1500, components=256)
    assert np.allclose(reconstruct.reconstructed(image, codec, 256), image, atol=0.5)
    assert not np.allclose(reconstruct.reconstructed(image, codec, 20), image, atol=5)
