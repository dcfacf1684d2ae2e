"""The report of a review: who says what of which report, and nothing that could be taken for a verdict."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from medfake_pacs.entities import Report, VerdictLabel
from medfake_pacs.errors import ReportError
from medfake_pacs.report import ReportSettings, Review, as_comprehensive, build_review
from medfake_pacs.report.recognise import is_own_report
from medfake_pacs.report.review import observer_name
from tests import report_cases, report_reading

SAID_AT = 1_770_000_000.0


def _review(folder: Path, case: report_cases.Case | None = None, **changes: object) -> tuple[Review, Report]:
    case = case or report_cases.one_image(report_cases.small_ct(), VerdictLabel.FAKE)
    reviewed = case.report(folder / "verdict")
    review = Review(
        number=1,
        reviewer="Dr. Anna Weber",
        login="aweber",
        opinion="disagree",
        comment="Motion artefact.\nNothing was put in.",
        created_at=SAID_AT,
        verdict=case.verdict,
        reviewed=reviewed,
    )
    return replace(review, **changes), reviewed


def _built(folder: Path, **changes: object) -> tuple[Dataset, Dataset]:
    review, reviewed = _review(folder, **changes)
    return dcmread(build_review(review, ReportSettings(), folder).path), dcmread(reviewed.path)


def test_it_points_to_the_report_that_it_is_about(tmp_path: Path) -> None:
    review, verdict = _built(tmp_path)
    assert review.StudyInstanceUID == verdict.StudyInstanceUID
    assert review.SeriesInstanceUID != verdict.SeriesInstanceUID
    assert "PredecessorDocumentsSequence" not in review
    group = report_reading.group(review, "Review 1")
    [item] = [item for item in group.ContentSequence if item.ValueType == "COMPOSITE"]
    assert item.ConceptNameCodeSequence[0].CodeValue == "REVIEWED-REPORT"
    [reference] = item.ReferencedSOPSequence
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (
        verdict.SOPClassUID,
        verdict.SOPInstanceUID,
    )
    # What the content tree refers to is evidence, and so are the images.
    evidence = list(report_reading.evidence(review))
    assert (verdict.SeriesInstanceUID, verdict.SOPInstanceUID) in evidence
    assert set(report_reading.evidence(verdict)) < set(evidence)


def test_it_says_who_thinks_what_and_is_no_verdict_itself(tmp_path: Path) -> None:
    review, verdict = _built(tmp_path)
    names = {item.ConceptNameCodeSequence[0].CodeMeaning: item for item in review.ContentSequence}
    assert names["Observer Type"].ConceptCodeSequence[0].CodeValue == "121006"
    assert names["Person Observer Name"].PersonName == "Dr. Anna Weber"
    # The other is what she has chosen to be called.
    login = names["Person Observer's Login Name"]
    assert (login.ValueType, login.TextValue, login.ConceptNameCodeSequence[0].CodeValue) == (
        "TEXT",
        "aweber",
        "128774",
    )
    assert review.AuthorObserverSequence[0].PersonName == "Dr. Anna Weber"
    group = report_reading.group(review, "Review 1")
    codes = {
        item.ConceptNameCodeSequence[0].CodeValue: item.ConceptCodeSequence[0].CodeValue
        for item in group.ContentSequence
        if item.ValueType == "CODE"
    }
    assert codes["OPINION"] == "DISAGREE"
    assert codes["REVIEWED-VERDICT"] == "FAKE"
    assert "ASSESSMENT" not in codes
    [comment] = [
        item.TextValue for item in group.ContentSequence if item.ValueType == "TEXT" and "Motion" in item.TextValue
    ]
    assert comment.startswith("Motion artefact.\nNothing was put in.\nOn revision 1: study assessed as fake.")
    assert (review.CompletionFlag, review.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert (review.PatientName, review.PatientID) == (verdict.PatientName, verdict.PatientID)
    # In the time zone that the images name, five hours before UTC.
    assert (review.ContentDate, review.TimezoneOffsetFromUTC) == ("20260201", "-0500")


def test_the_same_review_gives_the_same_bytes_and_another_another_uid(tmp_path: Path) -> None:
    first, _ = _review(tmp_path)
    one = build_review(first, ReportSettings(), tmp_path / "a")
    same = build_review(first, ReportSettings(), tmp_path / "b")
    assert one.path.read_bytes() == same.path.read_bytes()
    for change in (
        {"number": 2},
        {"comment": "Other."},
        {"opinion": "agree"},
        {"reviewer": "B"},
        {"login": "b"},
        {"created_at": 1.0},
    ):
        other = build_review(replace(first, **change), ReportSettings(), tmp_path / "c")
        assert other.sop_instance_uid != one.sop_instance_uid


@pytest.mark.parametrize("comment", ["", "ü 漢字 Ω", "\x00\x07\ud800", "a" * 5000])
@pytest.mark.parametrize("opinion", ["agree", "disagree", "comment"])
def test_any_comment_can_be_written(tmp_path: Path, opinion: str, comment: str) -> None:
    review, _ = _built(tmp_path, opinion=opinion, comment=comment, reviewer="Renée 漢")
    text = [item.TextValue for item in report_reading.group(review, "Review 1").ContentSequence if "TextValue" in item]
    assert any("On revision 1" in each for each in text)
    if comment.startswith("ü"):
        assert any("ü 漢字 Ω" in each for each in text)
        assert review.AuthorObserverSequence[0].PersonName == "Renée 漢"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A^B=C\\D", "A B C D"),
        ("\x1b(B Anna\x00", "(B Anna"),
        ("", "unknown"),
        ("^^==", "unknown"),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_name_holds_nothing_that_means_something_in_a_pn(name: str, expected: str) -> None:
    assert observer_name(name) == expected


def test_as_comprehensive_sr_it_points_to_the_comprehensive_sr(tmp_path: Path) -> None:
    review, reviewed = _review(tmp_path)
    twin = as_comprehensive(build_review(review, ReportSettings(), tmp_path).path)
    other = as_comprehensive(reviewed.path)
    [item] = [i for i in report_reading.group(twin, "Review 1").ContentSequence if i.ValueType == "COMPOSITE"]
    assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID
    assert item.ReferencedSOPSequence[0].ReferencedSOPClassUID == other.SOPClassUID
    assert (other.SeriesInstanceUID, other.SOPInstanceUID) in list(report_reading.evidence(twin))


def test_it_is_recognised_as_our_own(tmp_path: Path) -> None:
    review, _ = _built(tmp_path)
    assert is_own_report(review)
    del review.CodingSchemeIdentificationSequence
    assert is_own_report(review)


def test_what_can_not_be_reviewed_says_why(tmp_path: Path) -> None:
    review, reviewed = _review(tmp_path)
    with pytest.raises(ReportError, match="no review can say 'perhaps'"):
        build_review(replace(review, opinion="perhaps"), ReportSettings(), tmp_path)
    reviewed.path.write_bytes(b"")
    with pytest.raises(ReportError, match="can't be read"):
        build_review(review, ReportSettings(), tmp_path)
