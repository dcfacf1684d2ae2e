"""The domain check on real images: held-out patients and edits of theirs are inside, other models' images are not."""

from pathlib import Path

import numpy as np
import pytest

from medfake_pacs.classifier.anatomy import anatomy
from medfake_pacs.classifier.domain import DomainCheck
from tests.support import REPOSITORY, need_data
from training.configuration import read_configuration
from training.datasets import CATALOGUE, Sample, load
from training.degrade import jpeg, jpeg2000
from training.domain import MIN_LUNG, fit
from training.forge import upsample
from training.forge.site import Site
from training.split import PARTS, part_of_patients
from training.strangers import as_picture, dicom_files, fitted, photographs

FOLDERS = {"lung-ct": "ct", "knee-xr": "xray_knee", "chest-xr": "xray_chest"}
# Enough to fit a domain in seconds; the share of refusals that counts is measured on everything, by the command.
MOST = {"train": 160, "validation": 80, "test": 40}


def some(name: str) -> dict[str, list[Sample]]:
    """Some images of each part of a model's data, by the split that training uses."""
    configuration = read_configuration(REPOSITORY / "training" / "configs" / f"{name}.toml")
    records = CATALOGUE[configuration.reader].find(need_data(FOLDERS[name])).records
    part_of = part_of_patients(records, seed=configuration.seed, pinned_to_test=configuration.pinned_to_test)
    parts = {part: [record for record in records if part_of[record.patient] == part] for part in PARTS}
    return {part: [load(each) for each in list_[:: -(-len(list_) // MOST[part])]] for part, list_ in parts.items()}


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def model(request: pytest.FixtureRequest) -> tuple[str, DomainCheck, list[Sample]]:
    """A model's name, a domain fitted to its training and validation patients, and its test patients' images."""
    parts = some(request.param)
    images = ([sample.image for sample in parts[part]] for part in ("train", "validation"))
    check = DomainCheck(*fit(*images, hounsfield=request.param == "lung-ct"))
    tested = [s for s in parts["test"] if request.param != "lung-ct" or anatomy(s.image)["lung"] >= MIN_LUNG]
    return request.param, check, tested


def test_held_out_patients_are_inside(model: tuple[str, DomainCheck, list[Sample]]) -> None:
    _, check, samples = model
    refused = [(sample.name, why) for sample in samples if (why := check.objection(sample.image))]
    assert len(samples) >= 20
    assert len(refused) <= 2, refused


def test_compressed_and_redrawn_images_stay_inside(model: tuple[str, DomainCheck, list[Sample]]) -> None:
    name, check, samples = model
    inside = [sample.image for sample in samples if not check.objection(sample.image)][:10]
    ones = np.ones_like
    whole = [Site(image=i, mask=ones(i), donor=i, sigma=3.0, spread=50.0) for i in inside]
    rng = np.random.default_rng(0)
    changed = [jpeg2000(image, 10) if name == "lung-ct" else jpeg(image, 90) for image in inside]
    changed += [upsample.apply(site, rng) for site in whole]
    assert sum(bool(check.objection(image)) for image in changed) <= 1


def test_other_modalities_photographs_and_the_other_models_images_are_outside(
    model: tuple[str, DomainCheck, list[Sample]],
) -> None:
    name, check, samples = model
    shape = samples[0].image.shape
    own = {"lung-ct": "DICOM, chest CT", "chest-xr": "DICOM, chest radiograph", "knee-xr": ""}[name]
    others = [item for item in (*photographs(), *dicom_files(need_data("dicom_conformance"))) if item.kind != own]
    as_they_are = [bool(check.objection(item.image)) for item in others]
    as_pictures = [bool(check.objection(fitted(as_picture(item), shape))) for item in others]
    least = 0.8 if name == "chest-xr" else 0.98
    assert np.mean(as_they_are) >= least
    assert np.mean(as_pictures) >= least


def test_a_chest_slice_of_another_hospital_is_inside_and_a_head_is_not() -> None:
    parts = some("lung-ct")
    check = DomainCheck(
        *fit([s.image for s in parts["train"]], [s.image for s in parts["validation"]], hounsfield=True)
    )
    files = list(dicom_files(Path(need_data("dicom_conformance"))))
    chests = [check.objection(item.image) for item in files if item.kind == "DICOM, chest CT"]
    elsewhere = [check.objection(item.image) for item in files if item.kind == "DICOM, CT, not of the chest"]
    assert chests
    assert not any(chests)
    assert len(elsewhere) > 10
    assert all(elsewhere)
    assert any("no lung to assess" in why for why in elsewhere)
