"""The domain check: what it refuses and says, on drawn material; old cards; what a broken bundle is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medfake_pacs.classifier import load_bundle
from medfake_pacs.classifier.anatomy import anatomy
from medfake_pacs.classifier.domain import DomainCheck
from medfake_pacs.classifier.domains import ThumbnailDomain
from medfake_pacs.errors import BundleError
from tests.unit.classifier_support import make_bundle
from training.degrade import jpeg, jpeg2000
from training.domain import as_mapping, fit
from training.strangers import ct_phantoms, drawn

SHAPE = (160, 192)


def joint(seed: int) -> np.ndarray:
    """A radiograph of sorts: two bright shafts with a dark gap between, textured, noisy, never the same twice."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] / np.array(SHAPE)[:, None, None]
    gap, width = 0.5 + rng.normal(0, 0.02), 0.3 + rng.normal(0, 0.02)
    shaft = 1 / (1 + np.exp((np.abs(columns - 0.5) - width - 0.15 * (rows - gap) ** 2) * 40))
    image = 40 + 150 * shaft * (1 - 0.8 * np.exp(-(((rows - gap) / 0.04) ** 2)))
    image += 12 * gaussian_filter(rng.normal(size=SHAPE), 3) / 0.1
    return np.rint(np.clip(image + rng.normal(0, 3, SHAPE), 0, 255)).astype(np.float32)


def chest(seed: int, *, lung: float = 1.0) -> np.ndarray:
    """A CT slice of sorts in HU: fat, muscle, spine, two lungs of the given size with vessels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:256, :256] / 128 - 1
    image = np.full((256, 256), -1000.0)
    image[(columns / 0.9) ** 2 + (rows / 0.65) ** 2 < 1] = -100
    image[(columns / 0.82) ** 2 + (rows / 0.57) ** 2 < 1] = 40
    image[(columns / 0.1) ** 2 + ((rows - 0.35) / 0.12) ** 2 < 1] = 400
    vessels = gaussian_filter(rng.normal(size=image.shape), 2)
    for side in (-1, 1):
        part = ((columns - side * 0.4) / (0.28 * lung)) ** 2 + (rows / (0.4 * lung)) ** 2 < 1
        image[part] = (-830 + 160 * np.abs(vessels / vessels.std()))[part]
    return np.rint(gaussian_filter(image, 0.7) + rng.normal(0, 15, image.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def radiographs() -> DomainCheck:
    return DomainCheck(*fit([joint(n) for n in range(60)], [joint(n) for n in range(60, 90)], hounsfield=False))


@pytest.fixture(scope="module")
def slices() -> DomainCheck:
    return DomainCheck(*fit([chest(n) for n in range(8)], [chest(n) for n in range(8, 12)], hounsfield=True))


def test_images_of_the_same_kind_are_inside(radiographs: DomainCheck, slices: DomainCheck) -> None:
    assert sum(bool(radiographs.objection(joint(n))) for n in range(100, 120)) <= 1
    assert [slices.objection(chest(n)) for n in range(100, 110)] == [""] * 10


def test_units_and_contrast_of_a_radiograph_do_not_matter(radiographs: DomainCheck) -> None:
    assert radiographs.objection(joint(100) * 16 + 1000) == ""
    assert radiographs.objection(joint(100) / 2) == ""


def test_an_edit_or_a_codec_does_not_lead_outside(radiographs: DomainCheck, slices: DomainCheck) -> None:
    """Otherwise a fake would never be judged: it must not help to smooth, to fill in, to redraw or to compress."""
    film, scan = joint(100), chest(100)
    filled_film, filled_scan = film.copy(), scan.copy()
    filled_film[60:90, 80:110] = gaussian_filter(film, 4)[60:90, 80:110]
    filled_scan[110:140, 60:90] = 40
    for changed in (filled_film, gaussian_filter(film, 0.8), np.rint(film / 8) * 8, jpeg(film, 90), jpeg(film, 50)):
        assert radiographs.objection(changed) == ""
    for changed in (filled_scan, gaussian_filter(scan, 0.8), np.rint(scan / 16) * 16, jpeg2000(scan, 10)):
        assert slices.objection(changed) == ""


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((40, 200)), "shorter side 40 px"),
        (np.zeros((100, 2000)), "longer side 2000 px"),
        (np.full(SHAPE, np.nan), "not finite"),
        (np.full(SHAPE, np.inf), "not finite"),
        (np.full(SHAPE, 100.0), "blank or nearly constant"),
        (np.random.default_rng(1).uniform(0, 255, SHAPE), "noise unlike"),
        (np.mgrid[: SHAPE[0], : SHAPE[1]][1], "noise unlike"),
        (np.rot90(joint(100)), "content unlike that of the images the model was trained on: shapes"),
        (255 - joint(100), "brightness"),
        (np.where(joint(100) > 100, joint(100) / 9 + 230, joint(100) / 9), "greys"),
    ],
)
def test_a_radiograph_model_says_why_not(radiographs: DomainCheck, image: np.ndarray, reason: str) -> None:
    assert reason in radiographs.objection(image.astype(np.float32))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((256, 256), -1000.0), "blank"),
        (chest(100, lung=0.2), "no lung to assess"),
        (chest(100) + 1024, "no lung to assess"),
        ((chest(100) + 1350) / 1500 * 255, "blank"),
        (np.minimum(chest(100), -500), "nothing as dense as a body"),
        (np.where(chest(100) > 20, 700, chest(100)), "soft tissue"),
        (np.where(chest(100) > 150, 40, chest(100)), "bone"),
        (np.where(chest(100) < -500, np.where(chest(100) < -950, -1000, -700), chest(100)), "its vessels"),
    ],
)
def test_a_lung_model_says_why_not(slices: DomainCheck, image: np.ndarray, reason: str) -> None:
    assert reason in slices.objection(image.astype(np.float32))


def test_patterns_and_phantoms_are_outside(radiographs: DomainCheck, slices: DomainCheck) -> None:
    strangers = [*drawn(), *ct_phantoms()]
    assert len(strangers) > 50
    assert not [item.name for item in strangers if not slices.objection(item.image)]
    shrunk = [(item.name, item.image[::3, ::3]) for item in strangers if not item.hounsfield]
    assert not [name for name, image in shrunk if not radiographs.objection(image)]


def test_a_slice_needs_no_square(slices: DomainCheck) -> None:
    scan = chest(100)
    assert slices.objection(scan[30:-30]) == ""
    assert anatomy(scan[30:-30])["lung"] == pytest.approx(anatomy(scan)["lung"], rel=0.1)


def test_nothing_to_fit_to_is_an_error() -> None:
    with pytest.raises(ValueError, match="training images"):
        fit([], [joint(0)], hounsfield=False)
    with pytest.raises(ValueError, match="no image shows lung"):
        fit([chest(0, lung=0.1)], [], hounsfield=True)


def test_a_card_without_a_kind_keeps_its_check_and_digest(tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "small"))
    assert isinstance(bundle.card.domain, ThumbnailDomain)
    stated = json.loads((bundle.directory / "card.json").read_text())["domain"]
    assert json.loads(json.dumps(as_mapping(bundle.card.domain))) == stated


@pytest.mark.parametrize("hounsfield", [False, True])
def test_a_fitted_domain_survives_its_card(tmp_path: Path, hounsfield: bool) -> None:
    images = [chest(n) if hounsfield else joint(n) for n in range(6)]
    domain, tensors = fit(images[:4], images[4:], hounsfield=hounsfield)
    directory = make_bundle(tmp_path / "small")
    card = json.loads((directory / "card.json").read_text())
    before = load_bundle(directory).model_sha256
    (directory / "card.json").write_text(json.dumps(card | {"domain": as_mapping(domain)}))
    if hounsfield:
        loaded = load_bundle(directory)
        assert loaded.card.domain == domain
        assert loaded.model_sha256 != before
    else:
        with pytest.raises(BundleError, match=r"no tensors .*domain\.brightness\.components"):
            load_bundle(directory)
        with pytest.raises(BundleError, match=r"domain\.greys\.mean"):
            DomainCheck(domain, {name: value for name, value in tensors.items() if name != "domain.greys.mean"})


@pytest.mark.parametrize(
    ("domain", "names"),
    [({"kind": "zodiac"}, "zodiac"), ({"kind": "lung-ct", "ranges": {}}, "lung-ct"), ({"min_side_px": 1}, "noise")],
)
def test_a_domain_that_is_wrong_is_refused_by_name(tmp_path: Path, domain: dict[str, object], names: str) -> None:
    directory = make_bundle(tmp_path / "small")
    card = json.loads((directory / "card.json").read_text())
    (directory / "card.json").write_text(json.dumps(card | {"domain": domain}))
    with pytest.raises(BundleError, match=names):
        load_bundle(directory)
