"""The parts of the demonstration that need no node."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medfake_pacs.config import load_settings
from medfake_pacs.demo.forgery import manipulated_copy
from medfake_pacs.demo.material import count_cases, make_cases
from medfake_pacs.demo.node import write_configuration
from tests.support import REPOSITORY

TEMPLATE = REPOSITORY / "config" / "demo.toml"


def _read(name: str) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(str(get_testdata_file(name, download=False)))


def test_a_local_manipulation_changes_a_small_part_and_nothing_else() -> None:
    original = _read("693_UNCR.dcm")
    copy = manipulated_copy(original, "nodule", seed=1)
    changed = copy.pixel_array != original.pixel_array
    assert 0 < changed.mean() < 0.05
    rows, columns = np.nonzero(changed)
    assert max(np.ptp(rows), np.ptp(columns)) < 128
    assert copy.pixel_array.dtype == original.pixel_array.dtype


def test_the_dark_and_the_bright_of_an_inverted_radiograph_stay_in_place() -> None:
    original = _read("RG3_UNCR.dcm")
    copy = manipulated_copy(original, "selfblend", seed=2)
    assert copy.PhotometricInterpretation == "MONOCHROME1"
    assert (copy.pixel_array == original.pixel_array).mean() > 0.9


def test_a_copy_is_an_image_of_its_own() -> None:
    original = _read("CT_small.dcm")
    copy = manipulated_copy(original, "upsample", seed=3)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert copy[keyword].value != original[keyword].value
    assert copy.file_meta.MediaStorageSOPInstanceUID == copy.SOPInstanceUID
    assert "upsample" in copy.DerivationDescription


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_case_is_a_study_of_its_own_and_can_be_decoded(tmp_path: Path) -> None:
    cases = list(make_cases(tmp_path / "manipulated", lambda _text: None))
    assert len(cases) == count_cases() == len({case.study_instance_uid for case in cases})
    assert {case.truth for case in cases} == {"real", "fake"}
    real = None
    for case in cases:
        pixels = pydicom.dcmread(case.path).pixel_array
        if case.truth == "real":
            real = pixels
        assert np.array_equal(pixels, real) == (case.truth == "real")


def test_the_template_becomes_a_valid_configuration_with_other_ports(tmp_path: Path) -> None:
    target = tmp_path / "demo.toml"
    write_configuration(TEMPLATE, target, 40001, 40002)
    settings = load_settings(target, environment={})
    assert (settings.node.port, settings.destinations[0].port) == (40001, 40002)
    assert settings.node.state_dir == tmp_path / "node"
