"""Our own reports are recognised when they come back, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from medfake_pacs.report import as_comprehensive, is_own_report
from tests.report_cases import one_image, small_ct


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return one_image(small_ct()).report(tmp_path).path


def test_our_report_is_recognised_in_both_sop_classes(own: Path) -> None:
    assert is_own_report(dcmread(own))
    assert is_own_report(as_comprehensive(own))


def test_our_report_is_recognised_after_an_archive_has_rewritten_its_header(own: Path) -> None:
    dataset = dcmread(own)
    for keyword in ("CodingSchemeIdentificationSequence", "Manufacturer", "DeviceUID", "ContributingEquipmentSequence"):
        delattr(dataset, keyword)
    dataset.SOPInstanceUID = "1.2.3"
    assert is_own_report(dataset)


@pytest.mark.parametrize("name", ["reportsi.dcm", "test-SR.dcm", "CT_small.dcm", "waveform_ecg.dcm"])
def test_what_others_made_is_not_ours(name: str) -> None:
    assert not is_own_report(dcmread(get_testdata_file(name), force=True))


def test_an_image_that_claims_our_scheme_is_still_an_image(own: Path) -> None:
    image = dcmread(small_ct())
    image.CodingSchemeIdentificationSequence = dcmread(own).CodingSchemeIdentificationSequence
    assert not is_own_report(image)


@pytest.mark.parametrize("value", [b"", b"\xff" * 12, b"\xfe\xff\x00\xe0\xff\xff\xff\x7f", b"\xfe\xff\x00\xe0"])
@pytest.mark.parametrize("keyword", ["CodingSchemeIdentificationSequence", "ContentSequence"])
def test_a_malformed_report_of_others_is_not_ours_and_harms_nobody(keyword: str, value: bytes) -> None:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
    dataset[keyword] = RawDataElement(Tag(keyword), "SQ", len(value), value, 0, False, True)
    assert not is_own_report(dataset)


def test_recognising_loads_no_heavy_library() -> None:
    code = "import sys, medfake_pacs.report.recognise; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pydicom" in loaded
    assert not {"highdicom", "torch", "openvino", "scipy"} & set(loaded)
