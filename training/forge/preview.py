"""What the forge does, to look at: for each family real, fake, difference and mask around one edit."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter

from training.forge import WHOLE, Forge, Forged
from training.forge.cuboid import Action, tamper
from training.forge.sheet import Panel, Picture, difference, shades, with_box
from training.forge.site import Array, Site, alike, anatomy, noise_sigma, soft_mask
from training.forge.volume import Spacing, Voxel, forge_volume

CUBOIDS: Mapping[str, Action] = {"cuboid-inject": "inject", "cuboid-remove": "remove"}
_CUBE_MM = 32
_SHOWN_PX = (56, 128)
_DONORS = 6
_MARGIN_PX = 32
_DEEP_PX = 10
_LUNG_HU = (-950.0, -550.0)
_LUNG_WINDOW, _SOFT_WINDOW = (-1350.0, 150.0), (-160.0, 240.0)


def window_of(part: Array, image: Array, *, hounsfield: bool) -> tuple[float, float]:
    """The display window: lung or soft tissue for CT, by what there is; the image's percentiles otherwise."""
    if hounsfield:
        return _LUNG_WINDOW if np.percentile(part, 25) < -300 else _SOFT_WINDOW
    low, high = np.percentile(image, [0.5, 99.5])
    return float(low), float(high)


def places(image: Array, rng: np.random.Generator, *, hounsfield: bool) -> npt.NDArray[np.intp]:
    """Where an edit may be: (N, 2) rows and columns in the patient, clear of the image's border.

    For CT, seven times in ten those in the lung alone, where there is any.
    """
    inside = binary_erosion(anatomy(image, hounsfield=hounsfield), iterations=_DEEP_PX)
    margin = [min(_MARGIN_PX, size // 4) for size in image.shape]
    clear = np.zeros_like(inside)
    clear[margin[0] : -margin[0], margin[1] : -margin[1]] = True
    inside &= clear
    if hounsfield and rng.random() < 0.7:
        smooth = gaussian_filter(image, 4.0)
        lung = inside & (smooth > _LUNG_HU[0]) & (smooth < _LUNG_HU[1])
        inside = lung if lung.any() else inside
    return np.argwhere(inside)


def site_in(image: Array, centre: tuple[int, int], other: tuple[int, int], rng: np.random.Generator) -> Site:
    """A site of 7 to 24 px radius at one place of an image, with another place as donor."""
    near = image[max(0, centre[0] - 32) : centre[0] + 32, max(0, centre[1] - 32) : centre[1] + 32]
    low, high = np.percentile(near, [5, 95])
    return Site(
        image=image,
        mask=soft_mask(image.shape, centre, rng.uniform(7.0, 24.0), rng),
        donor=np.roll(image, (centre[0] - other[0], centre[1] - other[1]), axis=(0, 1)),
        sigma=noise_sigma(near),
        spread=float(max(high - low, 8.0)),
    )


def row_of(
    forge: Forge, family: str, images: Sequence[Array], rng: np.random.Generator, *, hounsfield: bool
) -> list[Panel]:
    """One row: where the edit is, real, fake, difference and mask, enlarged.

    Raises: ValueError where none of the images shows a patient.
    """
    for number in rng.permutation(len(images)):
        image = images[number]
        candidates = places(image, rng, hounsfield=hounsfield)
        if len(candidates):
            break
    else:
        raise ValueError("no image shows a place to edit")
    drawn = candidates[rng.integers(len(candidates), size=1 + _DONORS)]
    centre = int(drawn[0][0]), int(drawn[0][1])
    other = alike(image, centre, drawn[1:])
    site = site_in(image, centre, other, rng)
    forged = forge.any_of([family], site, rng)
    return panels(image, forged, centre, sigma=site.sigma, hounsfield=hounsfield)


def panels(image: Array, forged: Forged, centre: tuple[int, int], *, sigma: float, hounsfield: bool) -> list[Panel]:
    """The pictures of one edit, about its centre."""
    side = _SHOWN_PX[0]
    if forged.family not in WHOLE:
        side = int(np.clip(2.2 * np.ptp(np.argwhere(forged.mask > 0), axis=0).max(initial=0), *_SHOWN_PX))
    starts = [
        int(np.clip(place - side // 2, 0, max(0, size - side))) for place, size in zip(centre, image.shape, strict=True)
    ]
    rows, columns = (slice(start, start + side) for start in starts)
    real, fake = image[rows, columns], forged.image[rows, columns]
    quarter = slice(side // 4, -(side // 4))
    window = window_of(real[quarter, quarter], image, hounsfield=hounsfield)
    overview = window_of(image, image, hounsfield=hounsfield)
    change = fake - real
    limit = float(max(np.percentile(np.abs(change), 99.5), 3 * sigma))
    seen = forged.mask > 0.5
    mean = float(np.abs(forged.image - image)[seen].mean() / sigma) if seen.any() else 0.0
    state = "" if forged.visible else ", NOT VISIBLE"
    return [
        Panel(picture=with_box(shades(image, *overview), rows, columns), text=f"{forged.family}{state}"),
        Panel(picture=shades(real, *window), text=f"real, window {window[0]:.0f} to {window[1]:.0f}"),
        Panel(picture=shades(fake, *window), text=f"fake, noise level {sigma:.1f}"),
        Panel(picture=difference(change, limit), text=f"difference ±{limit:.0f}, mean {mean:.1f} noise levels"),
        Panel(picture=shades(forged.mask[rows, columns], 0, 1), text=f"mask, {int(seen.sum())} px above 0.5"),
    ]


def volume_row(
    forge: Forge, family: str, volume: Array, spacing_mm: Spacing, rng: np.random.Generator, seed: int
) -> list[Panel]:
    """One row for an edit of a CT volume (Z, H, W): the slice in its middle, and a coronal cut (real, fake) through it.

    ``family`` is one of the forge's, or cuboid-inject or cuboid-remove.

    Raises: ValueError where the volume has no place to edit.
    """
    reach = [int(_CUBE_MM / 2 / step) + 2 for step in spacing_mm]
    for layer in rng.permutation(np.arange(len(volume) // 4, 3 * len(volume) // 4 + 1)):
        found = places(volume[layer], rng, hounsfield=True)
        candidates = found[((found >= reach[1:]) & (found < np.array(volume.shape[1:]) - reach[1:])).all(axis=1)]
        if len(candidates):
            break
    else:
        raise ValueError("no slice shows a place to edit")
    drawn = candidates[rng.integers(len(candidates), size=1 + _DONORS)]
    centre = int(layer), int(drawn[0][0]), int(drawn[0][1])
    if family in CUBOIDS:
        forged = tamper(volume, spacing_mm, centre, CUBOIDS[family], seed=seed)
    else:
        donor = centre[0], *alike(volume[layer], centre[1:], drawn[1:])
        size_mm = rng.uniform(12.0, 30.0)
        forged = forge_volume(
            forge, family, volume, spacing_mm, centre=centre, donor=donor, diameter_mm=size_mm, seed=seed
        )
    middle = Forged(image=forged.image[layer], mask=forged.mask[layer], family=family, visible=forged.visible)
    near = volume[layer, centre[1] - 24 : centre[1] + 24, centre[2] - 24 : centre[2] + 24]
    row = panels(volume[layer], middle, centre[1:], sigma=noise_sigma(near), hounsfield=True)
    touched = int((forged.mask > 0.5).any(axis=(1, 2)).sum())
    for image, text in ((volume, "coronal, real"), (forged.image, f"coronal, fake, {touched} slices")):
        row.append(Panel(picture=_coronal(image, centre, spacing_mm), text=text))
    return row


def _coronal(volume: Array, centre: Voxel, spacing_mm: Spacing) -> Picture:
    """80 mm of the coronal plane through a voxel, in the lung window, at the slices' own resolution."""
    half = [max(1, round(40 / step)) for step in spacing_mm]
    layers, columns = (slice(max(0, centre[axis] - half[axis]), centre[axis] + half[axis] + 1) for axis in (0, 2))
    plane = np.repeat(volume[layers, centre[1], columns], max(1, round(spacing_mm[0] / spacing_mm[2])), axis=0)
    return shades(plane, *_LUNG_WINDOW)
