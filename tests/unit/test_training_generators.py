"""The learned generators: trained on training patients alone, read back, and used as families of fakes."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from training.configuration import Configuration, read_configuration
from training.datasets import Sample
from training.forge import Forge, learned, reconstruct
from training.forge.learned import Contrasts
from training.forge.pix2pix import Pix2Pix
from training.forge.site import Array, Site, noise_sigma, soft_mask
from training.forge.vae import Vae
from training.generators import check_unseen, load
from training.generators.learning import Budget
from training.generators.patches import PatchSource
from training.generators.produce import produce
from training.generators.store import FILE, patient_digest
from training.split import by_patient, patients

CONFIG = Path(__file__).resolve().parents[2] / "training" / "configs" / "lung-ct.toml"
CONTRASTS = Contrasts(inject=(0.35, 1.1), remove=(-0.2, 0.15))
FAMILIES = ("pix2pix", "vae", "vae-whole", "diffusion")


def picture(seed: int, side: int = 112) -> Array:
    rng = np.random.default_rng(seed)
    rough = gaussian_filter(rng.normal(0, 1, (side, side)), 6)
    grain = gaussian_filter(rng.normal(0, 1, (side, side)), 0.5) * 40
    return np.rint(rough / rough.std() * 120 - 500 + grain).astype(np.float32)


def samples() -> list[Sample]:
    return [
        Sample(image=picture(seed), patient=f"patient-{seed // 2}", source="made up", name=f"image-{seed}")
        for seed in range(20)
    ]


def configuration() -> Configuration:
    return replace(read_configuration(CONFIG), pinned_to_test=())


def make(output: Path, steps: int = 3, **more: object) -> dict:
    settings = {"names": ("pix2pix", "vae", "diffusion"), "budget": Budget(steps=steps), "device": torch.device("cpu")}
    split = by_patient(samples(), seed=1)
    return produce(configuration(), split.train, output, **{**settings, **more})


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("generators")
    make(output)
    return output


@pytest.fixture
def copied(directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directory, tmp_path / "copied"))


def make_site(seed: int, radius_px: float = 14, centre: tuple[int, int] = (80, 75), side: int = 160) -> Site:
    image = picture(seed, side)
    mask = soft_mask(image.shape, centre, radius_px, np.random.default_rng(seed))
    return Site(image=image, mask=mask, donor=picture(seed + 50, side), sigma=noise_sigma(image), spread=300.0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("radius_px", "centre"), [(14, (80, 75)), (7, (20, 140)), (30, (80, 80))])
def test_a_fake_differs_where_the_mask_is_and_nowhere_else(
    directory: Path, family: str, radius_px: float, centre: tuple[int, int]
) -> None:
    apply = load(directory)[family]
    site = make_site(3, radius_px, centre)
    before = site.image.copy()
    fake = apply(site, np.random.default_rng(0))
    assert np.array_equal(site.image, before)
    assert fake.dtype == np.float32
    assert fake.shape == site.image.shape
    assert np.isfinite(fake).all()
    changed = np.abs(fake - site.image) > 0.5
    if family == "vae-whole":
        assert changed.mean() > 0.5
    else:
        assert not changed[site.mask == 0].any()
        assert changed[site.mask > 0.5].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fake_is_drawn_by_its_generator_alone(directory: Path, family: str) -> None:
    site, apply = make_site(1), load(directory)[family]
    torch.manual_seed(1)
    first = apply(site, np.random.default_rng(5))
    torch.manual_seed(2)
    again, other = (apply(site, np.random.default_rng(seed)) for seed in (5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_small_images_and_masks_at_the_border_are_edited_too(directory: Path, family: str) -> None:
    site = make_site(2, radius_px=12, centre=(6, 30), side=41)
    fake = load(directory)[family](site, np.random.default_rng(3))
    assert fake.shape == (41, 41)
    assert np.isfinite(fake).all()


def test_hounsfield_units_come_back_as_such() -> None:
    """Networks that change nothing leave the image as it was, in its own units, beyond the window too."""
    site = make_site(4)
    site.image[40:44, 40:44] = 3000
    same = Vae(encode=lambda x: (x, torch.full_like(x, -60)), decode=lambda x: x, stride=4, whole=True)
    quiet = [same(site, np.random.default_rng(seed)) for seed in range(12)]
    assert min(float(np.abs(fake - site.image).max()) for fake in quiet) < 0.05


def test_an_injection_can_only_raise_values_and_a_removal_does_both() -> None:
    calls: list[float] = []

    def network(known: torch.Tensor, hole: torch.Tensor, contrast: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        calls.append(float(contrast.max()))
        return contrast + 0.3 * noise

    apply, site = Pix2Pix(network=network, patch_px=48, contrasts=CONTRASTS), make_site(5)
    lowered, raised = {True: 0, False: 0}, {True: 0, False: 0}
    for seed in range(30):
        fake = apply(site, np.random.default_rng(seed))
        inject = calls[-1] > 0.3
        lowered[inject] += int((fake < site.image - 0.5).any())
        raised[inject] += int((fake > site.image + 0.5).any())
    assert lowered[True] == 0
    assert min(raised[True], raised[False], lowered[False]) > 5


def test_the_hole_is_never_shown_to_the_in_painter() -> None:
    seen = []

    def network(known: torch.Tensor, hole: torch.Tensor, contrast: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        seen.append((known * hole).abs().max().item())
        return known

    for seed in range(6):
        Pix2Pix(network=network, patch_px=48, contrasts=CONTRASTS)(make_site(seed), np.random.default_rng(seed))
    assert seen == [0.0] * 6


@pytest.mark.parametrize("whole", [False, True])
def test_the_touch_up_gives_back_the_noise_that_was_lost_and_no_structure_of_elsewhere(whole: bool) -> None:
    site = make_site(6)
    site.donor[:, 70:73] += 2000
    smooth = gaussian_filter(site.image, 3)
    everywhere = learned.Region(rows=slice(0, 160), columns=slice(0, 160))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        if whole:
            fake = learned.touched_up_whole(smooth, site.image, rng, 1.0)
        else:
            fake = learned.touched_up(smooth, site, everywhere, rng, 1.0)
        assert noise_sigma(smooth) < 0.4 * site.sigma
        assert noise_sigma(fake) == pytest.approx(site.sigma, rel=0.2)
        assert abs(float((fake - smooth)[:, 70:73].mean())) < site.sigma


@pytest.mark.parametrize("family", FAMILIES)
def test_the_forge_takes_them_as_families(directory: Path, family: str) -> None:
    codec = reconstruct.fit([picture(0)], np.random.default_rng(0), count=300)
    site = make_site(3)
    forged = Forge(codec, learned=load(directory)).apply(family, site, np.random.default_rng(0))
    assert forged.family == family
    assert np.array_equal(forged.image, np.rint(forged.image))
    assert (forged.image != site.image).any()


def test_training_patients_alone_are_learnt_from(directory: Path) -> None:
    split = by_patient(samples(), seed=1)
    about = json.loads((directory / FILE).read_text())
    assert about["data"]["patients"] == sorted(patient_digest(patient) for patient in patients(split.train))
    check_unseen(directory, patients(split.validation) | patients(split.test))
    with pytest.raises(ValueError, match="trained on 1 patients"):
        check_unseen(directory, {split.train[0].patient, split.test[0].patient})
    assert "patient-" not in (directory / FILE).read_text()


def test_fakes_among_the_samples_are_not_learnt_from(tmp_path: Path) -> None:
    fake = replace(samples()[0], label="fake", patient="a fake's")
    about = produce(
        configuration(),
        [*samples()[2:6], fake],
        tmp_path,
        budget=Budget(steps=1),
        names=("vae",),
        device=torch.device("cpu"),
    )
    assert patient_digest("a fake's") not in about["data"]["patients"]
    assert about["data"]["images"] == 4


def test_the_same_steps_make_the_same_weights(directory: Path, tmp_path: Path) -> None:
    make(tmp_path)
    first, second = (json.loads((one / FILE).read_text())["generators"] for one in (directory, tmp_path))
    for name in first:
        assert first[name]["sha256"] == second[name]["sha256"]
        content = (tmp_path / f"{name}.safetensors").read_bytes()
        assert hashlib.sha256(content).hexdigest() == first[name]["sha256"]
        assert first[name]["steps"] == 3


def test_learning_lowers_the_losses(tmp_path: Path) -> None:
    about = make(tmp_path, steps=60, names=("vae",))
    losses = [entry["l1"] for entry in about["generators"]["vae"]["losses"]]
    assert losses[-1] < 0.85 * losses[0]


def test_one_can_be_made_again_and_the_others_stay(copied: Path) -> None:
    before = json.loads((copied / FILE).read_text())["generators"]
    make(copied, steps=2, names=("vae",))
    after = json.loads((copied / FILE).read_text())["generators"]
    assert after["pix2pix"] == before["pix2pix"]
    assert after["vae"]["sha256"] != before["vae"]["sha256"]
    assert set(load(copied)) == set(FAMILIES)
    make(copied, steps=4, names=("vae",), further=True)
    assert json.loads((copied / FILE).read_text())["generators"]["vae"]["steps"] == 6


def test_generators_of_other_patients_are_not_mixed(copied: Path) -> None:
    with pytest.raises(ValueError, match="learnt from other patients"):
        produce(
            configuration(),
            samples()[:2],
            copied,
            budget=Budget(steps=1),
            names=("vae",),
            device=torch.device("cpu"),
        )


def test_a_budget_in_seconds_ends() -> None:
    assert 1 <= len(list(Budget(seconds=0.01).parts())) < 10**6
    assert list(Budget(steps=4).parts()) == [0, 0.25, 0.5, 0.75]


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 48 px"):
        PatchSource([picture(0, 40)], ["p"], patch_px=48, hounsfield=False)


def _spoil_weights(directory: Path) -> None:
    path = directory / "vae.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def _rewrite(directory: Path, **changes: object) -> None:
    about = json.loads((directory / FILE).read_text())
    (directory / FILE).write_text(json.dumps({**about, **changes}))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda path: (path / FILE).unlink(), FileNotFoundError, "python -m training generators"),
        (lambda path: (path / FILE).write_text("{"), ValueError, "not JSON"),
        (lambda path: _rewrite(path, format=99), ValueError, "not of format"),
        (lambda path: _rewrite(path, dims=3), ValueError, "3 dimensions"),
        (lambda path: (path / "pix2pix.safetensors").unlink(), ValueError, "missing"),
        (_spoil_weights, ValueError, "SHA-256 differs"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused(copied: Path, spoil, error, message: str) -> None:
    spoil(copied)
    with pytest.raises(error, match=message):
        load(copied)
