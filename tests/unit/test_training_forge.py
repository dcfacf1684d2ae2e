"""The forge: every family changes what its mask says, keeps shape and type, and differs from the others."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from training.forge import (
    LEARNED_LOCAL,
    LEARNED_WHOLE,
    LOCAL,
    VISIBLE_SIGMAS,
    WEIGHTLESS_WHOLE,
    Forge,
    inpaint,
    reconstruct,
)
from training.forge.poisson import solve
from training.forge.site import Array, Site, noise_sigma, soft_mask

FAMILIES = (*LOCAL, *WEIGHTLESS_WHOLE)


def picture(seed: int, side: int = 160) -> Array:
    rng = np.random.default_rng(seed)
    rough = gaussian_filter(rng.normal(0, 1, (side, side)), 6)
    smooth = rough / rough.std() * 120
    return np.rint(smooth - 500 + gaussian_filter(rng.normal(0, 1, (side, side)), 0.5) * 40).astype(np.float32)


@pytest.fixture(scope="module")
def codec() -> reconstruct.Codec:
    return reconstruct.fit([picture(seed) for seed in range(3)], np.random.default_rng(0), count=600)


@pytest.fixture(scope="module")
def forge(codec: reconstruct.Codec) -> Forge:
    return Forge(codec)


def make_site(seed: int) -> Site:
    image = picture(seed)
    mask = soft_mask(image.shape, (80, 75), 18, np.random.default_rng(seed))
    return Site(image=image, mask=mask, donor=picture(seed + 50), sigma=noise_sigma(image), spread=300.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_is_what_changed(forge: Forge, family: str) -> None:
    for seed in range(6):
        site = make_site(seed)
        forged = forge.apply(family, site, np.random.default_rng(seed))
        assert forged.image.dtype == forged.mask.dtype == np.float32
        assert forged.image.shape == forged.mask.shape == site.image.shape
        change = np.abs(forged.image - site.image)
        assert not change[forged.mask == 0].any()
        assert forged.mask.max() <= 1
        if family in LOCAL:
            assert not forged.mask[site.mask == 0].any()
        seen = forged.mask > 0.5
        assert (uniform_filter(change, 7, mode="constant")[seen] >= 0.99 * VISIBLE_SIGMAS * site.sigma).all()
        if forged.visible:
            meant = (site.mask > 0.5) if family in LOCAL else np.ones_like(seen)
            assert seen.sum() >= max(50, 0.3 * meant.sum())
            assert change[seen].mean() >= 0.4 * site.sigma


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draw_can_nearly_always_be_seen(forge: Forge, family: str) -> None:
    drawn = [forge.any_of([family], make_site(seed), np.random.default_rng(seed)) for seed in range(12)]
    assert all(forged.visible for forged in drawn)
    first = [forge.apply(family, make_site(seed), np.random.default_rng(seed)) for seed in range(12)]
    assert sum(forged.visible for forged in first) >= 6


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fake_is_drawn_by_its_generator_alone(forge: Forge, family: str) -> None:
    site = make_site(1)
    first, again, other = (forge.apply(family, site, np.random.default_rng(seed)).image for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("shift", "low", "high"), [(-2500.0, -4000.0, 3071.0), (9000.0, 0.0, 16383.0)])
def test_values_far_from_eight_bits_keep_their_depth(
    forge: Forge, family: str, shift: float, low: float, high: float
) -> None:
    """Padding below -1024 HU and stored values of 14 bits: neither cut nor brought to another scale."""
    site = make_site(3)
    moved = replace(site, image=site.image + shift, donor=site.donor + shift)
    if shift < 0:
        moved.image[:20] = -4000
    forged = forge.apply(family, moved, np.random.default_rng(2))
    assert low <= forged.image.min()
    assert forged.image.max() <= high
    assert np.array_equal(forged.image, np.rint(forged.image))
    assert np.array_equal(forged.image[forged.mask == 0], moved.image[forged.mask == 0])
    assert np.unique(forged.image[forged.mask > 0.5]).size > 40


def test_fractions_stay_where_the_image_has_them(forge: Forge) -> None:
    site = make_site(2)
    site = replace(site, image=site.image + np.float32(0.25))
    forged = forge.apply("resample", site, np.random.default_rng(0))
    assert not np.array_equal(forged.image, np.rint(forged.image))


def test_what_cannot_be_seen_is_not_called_visible(codec: reconstruct.Codec) -> None:
    """A generator that returns its input, or a hint of noise, makes no fake."""
    nothing = Forge(codec, learned={"vae": lambda site, rng: site.image})
    faint = Forge(codec, learned={"vae": lambda site, rng: site.image + rng.normal(0, 0.3 * site.sigma)})
    site = make_site(4)
    for forge in (nothing, faint):
        forged = forge.apply("vae", site, np.random.default_rng(0))
        assert not forged.visible
        assert not (forged.mask > 0.5).any()
        assert forge.any_of(["vae", "copymove"], site, np.random.default_rng(0)).family == "copymove"


def test_a_learned_family_is_asked_for_by_name(codec: reconstruct.Codec) -> None:
    def brighter(site: Site, rng: np.random.Generator) -> Array:
        return site.image + 200

    def mirrored(site: Site, rng: np.random.Generator) -> Array:
        return site.image[:, ::-1]

    forge = Forge(codec, learned={"pix2pix": brighter, "vae-whole": mirrored})
    assert {"pix2pix", "vae-whole"} < set(forge.families)
    site = make_site(5)
    local = forge.apply("pix2pix", site, np.random.default_rng(0))
    assert np.array_equal(local.image - site.image, np.where(site.mask > 0, 200, 0))
    whole = forge.apply("vae-whole", site, np.random.default_rng(0))
    assert np.array_equal(whole.image, site.image[:, ::-1])
    assert whole.mask.min() > 0


@pytest.mark.parametrize("family", [*LEARNED_LOCAL, *LEARNED_WHOLE])
def test_a_family_without_its_generator_is_refused(forge: Forge, family: str) -> None:
    with pytest.raises(ValueError, match="python -m training generators"):
        forge.apply(family, make_site(0), np.random.default_rng(0))


def test_what_is_no_family_is_refused(forge: Forge, codec: reconstruct.Codec) -> None:
    with pytest.raises(ValueError, match="no family 'photoshop'"):
        forge.apply("photoshop", make_site(0), np.random.default_rng(0))
    with pytest.raises(ValueError, match="photoshop"):
        Forge(codec, learned={"photoshop": lambda site, rng: site.image})
    site = make_site(0)
    with pytest.raises(ValueError, match="mask is empty"):
        forge.apply("noise", replace(site, mask=np.zeros_like(site.mask)), np.random.default_rng(0))


def test_layers_of_a_volume_differ_in_noise_alone(forge: Forge) -> None:
    """What is drawn is the same for all layers, so an edit goes on from slice to slice."""
    site = make_site(6)
    first, second = (
        forge.apply("nodule", replace(site, layer=layer), np.random.default_rng(3)).image for layer in (0, 1)
    )
    assert not np.array_equal(first, second)
    apart = gaussian_filter(np.abs(first - second), 3)[site.mask > 0.9].mean()
    assert apart < 0.5 * gaussian_filter(np.abs(first - site.image), 3)[site.mask > 0.9].mean()


def test_a_poisson_solve_returns_the_image_for_its_own_gradients() -> None:
    image = picture(2)
    inside = soft_mask(image.shape, (80, 80), 20, np.random.default_rng(0)) > 0.5
    assert np.allclose(solve(image, image, inside, mixed=False), image, atol=0.05)


@pytest.mark.parametrize("way", inpaint.WAYS)
@pytest.mark.parametrize("radius_px", [6, 15, 30])
def test_a_hole_is_filled_from_its_rim(way: str, radius_px: int) -> None:
    """On a slope with a dot in it: the dot goes, the slope stays about what it was, and no hole is left."""
    rows, columns = np.mgrid[:120, :120].astype(np.float32)
    slope = 100 + 0.5 * columns
    distance = np.hypot(rows - 60, columns - 60)
    image = np.where(distance < 4, 900, slope).astype(np.float32)
    result = inpaint.filled(image, distance < radius_px, way, np.random.default_rng(0))
    inside = distance < radius_px
    assert result[inside].min() >= slope[inside].min() - 8
    assert result[inside].max() <= slope[inside].max() + 8
    assert np.abs(result - slope)[distance < 3].max() < 14


def test_masks_are_soft_and_clear_of_the_border() -> None:
    for seed in range(40):
        radius_px = 7 + seed % 18
        mask = soft_mask((96, 96), (20 + seed, 70), radius_px, np.random.default_rng(seed))
        assert mask.max() > 0.9
        assert ((mask > 0.1) & (mask < 0.9)).any()
        assert mask[0].max() == mask[-1].max() == mask[:, 0].max() == mask[:, -1].max() == 0
        extent = np.ptp(np.argwhere(mask > 0.5), axis=0).max() / 2
        assert 0.5 * radius_px < extent < 1.7 * radius_px


def test_full_rank_reconstruction_is_the_image() -> None:
    image = picture(4)
    codec = reconstruct.fit([image], np.random.default_rng(0), count=1500, components=256)
    assert np.allclose(reconstruct.reconstructed(image, codec, 256), image, atol=0.5)
    assert not np.allclose(reconstruct.reconstructed(image, codec, 20), image, atol=5)
