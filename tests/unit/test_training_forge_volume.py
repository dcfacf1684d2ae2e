"""Edits of volumes: in millimetres, through neighbouring slices, by one draw; CT-GAN's steps as published."""

import csv
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medfake_pacs.pixels import PixelLimits, decode_frames
from tests.support import need_data
from training.forge import LOCAL, WEIGHTLESS_WHOLE, Forge, reconstruct
from training.forge.cuboid import Action, tamper
from training.forge.site import Array
from training.forge.volume import ellipsoid, forge_volume

SPACING_MM = (2.5, 0.8, 0.8)
CENTRE, DONOR = (12, 64, 60), (13, 50, 75)


@cache
def scan() -> Array:
    """24 slices of a made-up lung with vessels that run through them."""
    rng = np.random.default_rng(0)
    vessels = gaussian_filter(rng.normal(0, 1, (24, 128, 128)), (3, 2, 2))
    noise = gaussian_filter(rng.normal(0, 1, vessels.shape), (0, 0.5, 0.5)) * 30
    return np.rint(-830 + 500 * np.clip(vessels / vessels.std() - 1.5, 0, 2) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge(reconstruct.fit(list(scan()[::6]), np.random.default_rng(0), count=400))


def edit(forge: Forge, family: str, seed: int = 3) -> tuple[Array, Array, bool]:
    forged = forge_volume(forge, family, scan(), SPACING_MM, centre=CENTRE, donor=DONOR, diameter_mm=20.0, seed=seed)
    return forged.image, forged.mask, forged.visible


def test_an_ellipsoid_is_as_long_in_millimetres_along_all_axes() -> None:
    for seed in range(8):
        mask = ellipsoid((40, 160, 160), (20, 80, 80), (1.5, 0.75, 0.75), 24.0, np.random.default_rng(seed))
        inside = np.argwhere(mask > 0.5)
        extents_mm = np.ptp(inside, axis=0) * (1.5, 0.75, 0.75)
        assert (extents_mm > 0.6 * 24).all()
        assert (extents_mm < 1.7 * 24).all()
        area = (mask > 0.5).sum(axis=(1, 2))
        assert area[20] == pytest.approx(area.max(), rel=0.1)
        assert 0 < area[np.flatnonzero(area)[0]] < 0.6 * area.max()


@pytest.mark.parametrize("family", LOCAL)
def test_an_edit_goes_through_the_slices_and_no_further(forge: Forge, family: str) -> None:
    image, mask, seen = edit(forge, family)
    assert seen
    assert not (image != scan())[mask == 0].any()
    assert np.array_equal(image, np.rint(image))
    assert image.dtype == mask.dtype == np.float32
    touched = np.flatnonzero((mask > 0.5).any(axis=(1, 2)))
    assert 3 <= touched.size <= 14
    assert touched[0] <= CENTRE[0] <= touched[-1]
    assert np.ptp(touched) == touched.size - 1
    assert np.array_equal(image, edit(forge, family)[0])
    assert not np.array_equal(image, edit(forge, family, seed=4)[0])


@pytest.mark.parametrize("family", WEIGHTLESS_WHOLE)
def test_a_redrawn_volume_changes_in_every_slice(forge: Forge, family: str) -> None:
    _, mask, seen = edit(forge, family)
    assert seen
    assert ((mask > 0.5).mean(axis=(1, 2)) > 0.2).all()


def test_neighbouring_slices_get_the_same_nodule(forge: Forge) -> None:
    image, _, _ = edit(forge, "nodule")
    change = image - scan()
    smooth = [gaussian_filter(change[layer], 2.0).ravel() for layer in (CENTRE[0], CENTRE[0] + 1)]
    assert np.corrcoef(smooth)[0, 1] > 0.7
    rough = [change[layer] - gaussian_filter(change[layer], 2.0) for layer in (CENTRE[0], CENTRE[0] + 1)]
    assert np.corrcoef(rough[0].ravel(), rough[1].ravel())[0, 1] < 0.6


def test_places_outside_are_refused(forge: Forge) -> None:
    for centre, message in (((12, 64, 128), "outside"), ((12, 64, 0), "border")):
        with pytest.raises(ValueError, match=message):
            forge_volume(forge, "noise", scan(), SPACING_MM, centre=centre, donor=DONOR, diameter_mm=0.5, seed=1)
    with pytest.raises(ValueError, match="32 mm"):
        tamper(scan(), SPACING_MM, (12, 10, 64), "inject", seed=1)


@pytest.mark.parametrize("action", ["inject", "remove"])
def test_tampering_reaches_as_far_as_the_touch_up_does(action: Action) -> None:
    forged = tamper(scan(), SPACING_MM, CENTRE, action, seed=2)
    changed = forged.image != scan()
    side = int(1.3 * 40)
    assert forged.visible
    assert not changed[forged.mask == 0].any()
    assert changed.any(axis=(0, 1)).sum() <= side
    assert np.flatnonzero(changed.any(axis=(0, 1)))[0] >= CENTRE[2] - side // 2
    # The kernel doesn't fall off in z: slices that the 32 mm don't reach change too.
    assert changed[0].any()
    assert changed[-1].any()
    assert np.array_equal(forged.image, np.trunc(forged.image))
    assert np.array_equal(forged.image, tamper(scan(), SPACING_MM, CENTRE, action, seed=2).image)


def test_an_injection_only_raises_values_and_is_dense_in_the_middle() -> None:
    # Towards zero is upwards for what is below it.
    forged = tamper(scan(), SPACING_MM, CENTRE, "inject", seed=2)
    assert (forged.image >= scan()).all()
    rise = (forged.image - scan())[CENTRE[0] - 1 : CENTRE[0] + 2, 56:72, 52:68]
    assert np.percentile(rise, 90) > 300


def test_a_removal_takes_away_what_is_dense() -> None:
    volume = scan().copy()
    volume[9:16, 57:71, 53:67] = np.maximum(volume[9:16, 57:71, 53:67], 20)
    forged = tamper(volume, SPACING_MM, CENTRE, "remove", seed=1)
    assert volume[CENTRE] >= 20
    assert forged.image[10:15, 58:70, 54:66].mean() < -500


def test_a_painter_gets_a_cube_of_one_millimetre() -> None:
    seen: list[tuple[tuple[int, ...], str, float]] = []

    def painter(cube: Array, action: str, rng: np.random.Generator) -> Array:
        seen.append((cube.shape, action, float(np.median(cube))))
        return np.full_like(cube, 2500)

    forged = tamper(scan(), SPACING_MM, CENTRE, "remove", seed=1, painter=painter)
    assert [(shape, action) for shape, action, _ in seen] == [((32, 32, 32), "remove")]
    assert -900 < seen[0][2] < -700
    assert forged.image[CENTRE] == pytest.approx(2500, abs=300)


def test_a_real_scan_keeps_its_depth(forge: Forge) -> None:
    root = need_data("ct")
    with (root / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["patient"] == "Lung_Dx-A0001" and row["kernel"] == "B"]
    rows = sorted(rows, key=lambda row: int(row["instance"]))[24:38]
    limits = PixelLimits(
        max_pixels_per_frame=2**20, max_frames=1, max_decoded_bytes=2**24, max_memory_bytes=2**31, timeout_s=30.0
    )
    volume = np.stack([next(iter(decode_frames(root.parent / row["file"], limits))).values for row in rows])
    spacing_mm = (5.0, 0.841796875, 0.841796875)
    smooth = gaussian_filter(volume[7], 4.0)
    y, x = np.argwhere((smooth > -930) & (smooth < -700))[2000]
    for forged in (
        forge_volume(
            forge, "nodule", volume, spacing_mm, centre=(7, y, x), donor=(7, y + 5, x + 9), diameter_mm=22.0, seed=5
        ),
        tamper(volume, spacing_mm, (7, int(y), int(x)), "inject", seed=5),
    ):
        assert forged.visible
        assert not (forged.image != volume)[forged.mask == 0].any()
        assert np.array_equal(forged.image, np.rint(forged.image))
        assert forged.image.min() == volume.min()
        seen = (forged.mask > 0.5)[7]
        assert forged.image[7][seen].mean() > volume[7][seen].mean() + 50
