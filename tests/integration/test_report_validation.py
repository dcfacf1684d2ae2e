"""Every kind of report is accepted by the validators and readers that integrators use.

``dciodvfy`` (dicom3tools), DicomSRValidator (PixelMed), ``dsrdump`` (DCMTK) and highdicom's ``srread``.
"""

import re
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import highdicom
import pytest
from pydicom import dcmread

from medfake_pacs.report import ReportSettings, Review, as_comprehensive, build_review
from tests import report_cases
from tests.support import need_tool

_PIXELMED = (
    "-Djdk.xml.xpathExprOpLimit=0", "-Djdk.xml.xpathTotalOpLimit=0", "-Djdk.xml.xpathExprGrpLimit=0",
    "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
    "-cp", "/usr/share/java/*", str(Path(__file__).with_name("ValidateReports.java")),
)  # fmt: skip
_CASES = (
    "xray", "ct_series", "mixed", "partly_undecodable", "not_calibrated", "not_assessed", "without_type_2",
    "latin_1", "japanese", "japanese_katakana", "utf_8", "comprehensive",
    "review", "review_japanese", "review_comprehensive",
)  # fmt: skip


def _case(name: str, folder: Path) -> report_cases.Case:
    made = {
        "xray": report_cases.xray,
        "ct_series": report_cases.ct_series,
        "mixed": lambda: report_cases.mixed(folder),
        "partly_undecodable": lambda: report_cases.partly_undecodable(folder),
        "not_calibrated": lambda: report_cases.not_calibrated(folder),
        "not_assessed": report_cases.not_assessed,
        "without_type_2": lambda: report_cases.without_type_2(folder),
        "latin_1": lambda: report_cases.named_in("chrFren"),
        "japanese": lambda: report_cases.named_in("chrH31"),
        "japanese_katakana": lambda: report_cases.named_in("chrH32"),
        "utf_8": lambda: report_cases.named_in("chrX1"),
        "comprehensive": report_cases.ct_series,
        "review": report_cases.ct_series,
        "review_japanese": lambda: report_cases.named_in("chrH32"),
        "review_comprehensive": report_cases.xray,
    }
    return made[name]()


def _report(name: str, folder: Path) -> Path:
    case = _case(name, folder / "sources")
    report = case.report(folder)
    if name.startswith("review"):
        review = Review(
            number=1,
            reviewer="Dr. Renée Weber",
            login="aweber",
            opinion="disagree",
            comment="Motion artefact.\nNothing was put in: 漢.",
            created_at=1_770_000_000.0,
            verdict=case.verdict,
            reviewed=report,
        )
        report = build_review(review, ReportSettings(), folder / "review")
    if name.endswith("comprehensive"):
        path = folder / "comprehensive.dcm"
        as_comprehensive(report.path).save_as(path)
        return path
    return report.path


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return {name: _report(name, tmp_path_factory.mktemp(name)) for name in _CASES}


def _run(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def test_what_is_validated_has_the_code_of_a_kind_without_thresholds(reports: Mapping[str, Path]) -> None:
    report = dcmread(reports["not_calibrated"])
    reasons = [
        item.ConceptCodeSequence[0].CodeValue
        for element in report.iterall()
        if element.keyword == "ContentSequence"
        for item in element.value
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeValue == "REASON"
    ]
    # Of the study, of its series, and of the image.
    assert reasons == ["NOT-CALIBRATED"] * 3


@pytest.mark.parametrize("name", _CASES)
def test_dciodvfy_finds_no_error(reports: Mapping[str, Path], name: str) -> None:
    code, output = _run(need_tool("/usr/bin/dciodvfy"), reports[name])
    expected = "ComprehensiveSR" if name.endswith("comprehensive") else "Comprehensive3DSR"
    assert expected in output, output
    assert not [line for line in output.splitlines() if line.startswith("Error")], output
    assert code == 0, output


def test_pixelmed_finds_no_error_against_tid_1500(reports: Mapping[str, Path]) -> None:
    java = need_tool("/usr/bin/java")
    need_tool("/usr/share/java/pixelmed.jar")
    _, output = _run(java, *_PIXELMED, *reports.values())
    parts = re.split(r"^File: .*$", output, flags=re.MULTILINE)[1:]
    assert len(parts) == len(reports), output
    outputs = dict(zip(reports, parts, strict=True))
    for name, output in outputs.items():
        assert "Found Root Template TID_1500" in output, f"{name}: {output}"
        assert "IOD validation complete" in output, f"{name}: {output}"
        assert "Error" not in output, f"{name}: {output}"
        # The template is extensible: what says the verdict, in codes and in words, is what it lacks.
        extra = [line for line in output.splitlines() if line.startswith("Warning")]
        assert all(line.endswith("Content Item not in template") for line in extra), f"{name}: {output}"
        assert all("99MEDFAKE" in line or "121106,DCM" in line for line in extra), f"{name}: {output}"


@pytest.mark.parametrize("name", _CASES)
def test_dsrdump_reads_the_whole_tree(reports: Mapping[str, Path], name: str) -> None:
    code, output = _run(need_tool("/usr/bin/dsrdump"), "+Pl", reports[name])
    assert code == 0, output
    complaints = [line for line in output.splitlines() if line.startswith(("E:", "W:", "F:"))]
    # DCMTK knows a few character sets only, and says so.
    assert not [line for line in complaints if "Set" not in line], output
    assert 'CONTAINER:(,,"Imaging Measurement Report")' in output
    if name.startswith("review"):
        assert 'PNAME:(,,"Person Observer Name")="Dr. Renée Weber"' in output
        assert 'COMPOSITE:(,,"Report that was reviewed")=' in output
    else:
        assert 'CODE:(,,"Image authenticity assessment")=' in output


@pytest.mark.parametrize("name", _CASES)
def test_highdicom_reads_the_groups_and_regions(reports: Mapping[str, Path], name: str) -> None:
    # highdicom wants an SOP class that its from_dataset knows, and says nothing where all is well.
    document = highdicom.sr.srread(reports[name])
    groups = document.content.get_image_measurement_groups()
    regions = document.content.get_planar_roi_measurement_groups()
    expected = {"ct_series": 1, "mixed": 1, "comprehensive": 1}
    assert len(regions) == expected.get(name, 0)
    if name.startswith("review"):
        assert [group.tracking_identifier for group in groups] == ["Review 1"]
        return
    assert len(groups) >= 2  # the study's and a series'
    assert {group.tracking_identifier for group in groups} >= {"Study"}


@pytest.mark.parametrize("name", ["chrFren", "chrH31", "chrH32", "chrX1", "chrX2", "chrI2", "chrRuss", "chrArab"])
def test_a_patient_name_comes_back_unharmed(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these samples have values of their own that pydicom finds odd
        source = dcmread(report_cases.charset_file(name))
    report = dcmread(report_cases.named_in(name).report(tmp_path).path)
    assert str(report.PatientName) == str(source.PatientName)
    assert report.PatientName.components == source.PatientName.components
    assert report.SpecificCharacterSet == source.SpecificCharacterSet
    assert report.PatientID == source.PatientID
