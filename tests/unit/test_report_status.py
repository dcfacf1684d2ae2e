"""Where a report stands: complete or not, preliminary, why it abstains, and what it follows on."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from medfake_pacs.entities import VerdictLabel
from medfake_pacs.report import ReportSettings, as_comprehensive, wording
from medfake_pacs.verdict import LOCALIZER
from tests import report_cases
from tests.report_cases import case, finding, one_image, series, small_ct, study
from tests.report_reading import group, values

UNSURE, UNASSESSED = VerdictLabel.INDETERMINATE, VerdictLabel.NOT_ASSESSED


@pytest.mark.parametrize(
    ("made", "flag"),
    [("ct_series", "COMPLETE"), ("partly_undecodable", "PARTIAL"), ("not_assessed", "COMPLETE"), ("mixed", "PARTIAL")],
)
def test_completion_says_whether_a_model_missed_images(tmp_path: Path, made: str, flag: str) -> None:
    build = getattr(report_cases, made)
    report = dcmread(
        (build(tmp_path / "s") if made in ("mixed", "partly_undecodable") else build()).report(tmp_path).path
    )
    assert report.CompletionFlag == flag
    assert report.VerificationFlag == "UNVERIFIED"


@pytest.mark.parametrize(
    ("route", "reason", "flag", "code"),
    [
        ("knee", "truncated pixel data", "PARTIAL", "the image could not be decoded or scored"),
        (
            "knee",
            f"{LOCALIZER}: not of a kind that is assessed",
            "COMPLETE",
            "the image could not be decoded or scored",
        ),
        ("", "no route matches this image", "COMPLETE", "no model is configured for this kind of image"),
    ],
)
def test_without_a_model_the_route_tells_what_was_missed(
    tmp_path: Path, route: str, reason: str, flag: str, code: str
) -> None:
    """No model is asked where a series' only image can't be decoded: its route still had one for it."""
    unassessed = finding(small_ct(), UNASSESSED, reason=reason)
    made = case([small_ct()], study([series([unassessed], None, route=route, reason=reason)]))
    report = dcmread(made.report(tmp_path).path)
    assert report.CompletionFlag == flag
    for name in ("Study", "Series 1: CT"):
        assert values(group(report, name))["Reason for the assessment"] == [code]


def test_images_outside_the_domain_were_decoded(tmp_path: Path) -> None:
    outside = one_image(small_ct(), UNSURE, probability=None, reason="blank or nearly constant")
    unscored = replace(outside.verdict.series[0], images_scored=0)
    report = dcmread(outside.report(tmp_path, verdict=study([unscored])).path)
    assert report.CompletionFlag == "COMPLETE"


def test_localizers_are_called_the_same_everywhere() -> None:
    assert wording.LOCALIZER == LOCALIZER


def test_an_abstention_says_why(tmp_path: Path) -> None:
    outside = one_image(small_ct(), UNSURE, probability=None, reason="blank or nearly constant")
    said = values(group(dcmread(outside.report(tmp_path).path), "Image 1 of series 1"))
    assert said["Reason for the assessment"] == ["outside what the model was made for"]
    assert said["Comment"] == ["Reason: blank or nearly constant."]


def test_a_new_revision_names_its_predecessor(tmp_path: Path) -> None:
    made = one_image(small_ct())
    first = made.report(tmp_path)
    second = made.report(tmp_path, verdict=replace(made.verdict, revision=2), predecessor=first)
    assert (first.predecessor_uid, second.predecessor_uid) == ("", first.sop_instance_uid)
    report, earlier = dcmread(second.path), dcmread(first.path)
    assert "PredecessorDocumentsSequence" not in earlier
    named = report.PredecessorDocumentsSequence[0]
    assert named.StudyInstanceUID == report.StudyInstanceUID
    assert named.ReferencedSeriesSequence[0].SeriesInstanceUID == earlier.SeriesInstanceUID
    reference = named.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == first.sop_instance_uid
    assert reference.ReferencedSOPClassUID == first.sop_class_uid
    twins = [as_comprehensive(path) for path in (first.path, second.path)]
    twin_reference = twins[1].PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert twin_reference.ReferencedSOPInstanceUID == twins[0].SOPInstanceUID
    assert twin_reference.ReferencedSOPClassUID == twins[0].SOPClassUID


def test_a_predecessor_is_looked_up_in_its_file(tmp_path: Path) -> None:
    made = one_image(small_ct())
    first = made.report(tmp_path, settings=ReportSettings(node_ae_title="OTHER"))
    own, other = dcmread(made.report(tmp_path).path).SeriesInstanceUID, dcmread(first.path).SeriesInstanceUID
    assert own != other
    for predecessor, expected in ((first, other), (replace(first, path=tmp_path / "missing.dcm"), own)):
        second = made.report(tmp_path, verdict=replace(made.verdict, revision=2), predecessor=predecessor)
        named = dcmread(second.path).PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
        assert named.SeriesInstanceUID == expected
