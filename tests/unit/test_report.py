"""What a report says, of which images, and that it says it the same way every time."""

import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence
from pydicom.uid import UID, MultiFrameGrayscaleByteSecondaryCaptureImageStorage

from medfake_pacs.entities import ImageFinding, Region, VerdictLabel
from medfake_pacs.errors import ReportError
from medfake_pacs.report import ReportSettings, as_comprehensive
from tests import report_cases
from tests.report_cases import NOW, case, finding, header, one_image, series, small_ct, study
from tests.report_reading import evidence, group, groups, values

FAKE, REAL, UNSURE, UNASSESSED = (
    VerdictLabel.FAKE, VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.NOT_ASSESSED,
)  # fmt: skip
NODULE = Region(x=10, y=20, width=30, height=40, score=2.5)


def test_the_same_verdict_gives_the_same_bytes(tmp_path: Path) -> None:
    made = report_cases.mixed(tmp_path / "sources")
    first = made.report(tmp_path / "a")
    second = made.report(tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sha256 == second.sha256
    later = made.report(tmp_path / "c", now=NOW + timedelta(days=1))
    assert later.sop_instance_uid == first.sop_instance_uid
    assert later.sha256 != first.sha256


def test_what_is_another_report_has_another_uid_in_the_same_series(tmp_path: Path) -> None:
    made = one_image(small_ct())
    other_model = replace(report_cases.KNEE_XR, sha256="00" * 32)
    verdicts = [
        made.verdict,
        replace(made.verdict, revision=2),
        replace(made.verdict, series=(replace(made.verdict.series[0], model=other_model),)),
    ]
    reports = [dcmread(made.report(tmp_path, verdict=verdict).path) for verdict in verdicts]
    uids = {report.SOPInstanceUID for report in reports}
    assert len(uids) == 3
    assert all(uid.startswith("2.25.") and UID(uid).is_valid for uid in uids)
    assert len({report.SeriesInstanceUID for report in reports}) == 1
    assert {report.StudyInstanceUID for report in reports} == {header(small_ct()).StudyInstanceUID}
    assert [report.InstanceNumber for report in reports] == [1, 2, 1]


def test_a_site_can_use_its_own_root(tmp_path: Path) -> None:
    root = "1.3.6.1.4.1.99999.1234567890.1234567890"
    report = dcmread(one_image(small_ct()).report(tmp_path, settings=ReportSettings(uid_root=root)).path)
    assert report.SOPInstanceUID.startswith(root + ".")
    assert UID(report.SOPInstanceUID).is_valid


def test_the_encoder_agrees_with_pydicom(tmp_path: Path) -> None:
    made = report_cases.mixed(tmp_path / "sources")
    report = dcmread(made.report(tmp_path).path)
    raw = dcmread(made.report(tmp_path).path).get_item("ContentSequence").value
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    for item in report.ContentSequence:
        _decode_everything(item)
    write_sequence(buffer, report["ContentSequence"], ["iso8859"])
    assert buffer.getvalue() == raw


def _decode_everything(item: Dataset) -> None:
    for element in item:
        for child in element.value if element.VR == "SQ" else ():
            _decode_everything(child)


def test_the_study_and_each_series_say_their_verdict(tmp_path: Path) -> None:
    report = dcmread(report_cases.mixed(tmp_path / "sources").report(tmp_path).path)
    said = values(group(report, "Study"))
    assert said["Image authenticity assessment"] == ["fake"]
    assert said["Probability of fake"] == [0.97]
    assert (said["Images received"], said["Images assessed"], said["Images assessed as fake"]) == ([7], [5], [1])
    assert said["Comment"][0].startswith("Study assessed as fake. 5 of 7 images assessed. 1 image assessed as fake.")
    assert "research use" in said["Comment"][0]
    names = [values(each)["Tracking Identifier"][0] for each in groups(report)]
    assert [name for name in names if name.startswith("Series")] == [
        "Series 1: CT", "Series 2: CR, 5/5mm Plain", "Series 3: OT", "Series 4: US",
    ]  # fmt: skip
    ultrasound = values(group(report, "Series 4: US"))
    assert ultrasound["Image authenticity assessment"] == ["not assessed"]
    assert ultrasound["Reason for the assessment"] == ["no model is configured for this kind of image"]
    assert "Probability of fake" not in ultrasound
    assert "Algorithm Name" not in ultrasound


def test_each_group_names_its_model_with_thresholds_and_digest(tmp_path: Path) -> None:
    report = dcmread(report_cases.mixed(tmp_path / "sources").report(tmp_path).path)
    for name, model in (("Series 1: CT", report_cases.CHEST_CT), ("Image 21 of series 2", report_cases.KNEE_XR)):
        said = values(group(report, name))
        assert said["Algorithm Name"] == [model.name]
        assert said["Algorithm Version"] == [model.version]
        assert said["Algorithm Family"] == ["Artificial Intelligence"]
        assert said["Algorithm Parameters"] == [
            f"fake_above = {model.parameters['fake_above']}",
            f"real_below = {model.parameters['real_below']}",
            f"SHA-256 of the model (weights, network, preprocessing, calibration) = {model.sha256}",
        ]


def test_the_weights_file_has_a_digest_of_its_own(tmp_path: Path) -> None:
    model = replace(report_cases.KNEE_XR, parameters={"weights_sha256": "77" * 32})
    made = case([small_ct()], study([series([finding(small_ct(), FAKE)], model)]))
    said = values(group(dcmread(made.report(tmp_path).path), "Study"))["Algorithm Parameters"]
    assert said == [
        f"SHA-256 of the weights file = {'77' * 32}",
        f"SHA-256 of the model (weights, network, preprocessing, calibration) = {model.sha256}",
    ]


def test_groups_refer_to_exactly_their_images(tmp_path: Path) -> None:
    made = report_cases.mixed(tmp_path / "sources")
    report = dcmread(made.report(tmp_path).path)
    ct = header(small_ct()).SOPInstanceUID
    assert "Source of Measurement" not in values(group(report, "Study"))
    assert values(group(report, "Series 1: CT"))["Source of Measurement"] == [(f"{ct}.{n}", None) for n in (1, 2, 3)]
    assert values(group(report, "Image 1 of series 1"))["Source of Measurement"][0] == (f"{ct}.1", None)
    undecoded = values(group(report, "Images not assessed of series 1"))
    assert undecoded["Source of Measurement"] == [(f"{ct}.3", None)]
    assert undecoded["Comment"] == ["Reason: truncated pixel data: 12 of 32768 bytes of a frame"]


def test_an_image_that_is_real_has_no_group(tmp_path: Path) -> None:
    report = dcmread(one_image(small_ct(), REAL).report(tmp_path).path)
    assert [values(each)["Tracking Identifier"][0] for each in groups(report)] == ["Study", "Series 1: CT"]


def test_two_objects_of_one_uid_are_told_apart_and_referred_to_once(tmp_path: Path) -> None:
    report = dcmread(report_cases.mixed(tmp_path / "sources").report(tmp_path).path)
    first = values(group(report, "Image 2 of series 1"))
    second = values(group(report, "Image 2 of series 1, object 2 of the same UID"))
    assert first["Image authenticity assessment"] == ["real"]
    assert second["Reason for the assessment"] == ["conflicting instance"]
    for said in (first, second, values(group(report, "Study"))):
        assert said["Integrity of the received instance"] == ["conflicting instance"]
    assert first["Tracking Unique Identifier"] != second["Tracking Unique Identifier"]
    listed = list(evidence(report))
    assert len(listed) == len(set(listed)) == 6


def test_one_uid_in_two_series_is_listed_once(tmp_path: Path) -> None:
    first = finding(small_ct(), REAL)
    second = replace(first, attributes=replace(first.attributes, series_instance_uid="1.2.3"), conflict="other pixels")
    made = case([], study([series([each], report_cases.CHEST_CT) for each in (first, second)]))
    report = dcmread(made.report(tmp_path).path)
    assert list(evidence(report)) == [(first.attributes.series_instance_uid, first.attributes.sop_instance_uid)]


def test_declared_synthetic_is_a_finding_of_its_own(tmp_path: Path) -> None:
    mixed = dcmread(report_cases.mixed(tmp_path / "sources").report(tmp_path).path)
    for name in ("Study", "Series 2: CR, 5/5mm Plain", "Image 21 of series 2"):
        assert values(group(mixed, name))["Declaration in the image header"] == ["declared synthetic"]
    assert values(group(mixed, "Image 21 of series 2"))["Image authenticity assessment"] == ["real"]
    assert "SyntheticData" not in mixed
    alone = dcmread(one_image(small_ct(), REAL, declared_synthetic=True).report(tmp_path).path)
    assert alone.SyntheticData == "YES"


def test_a_region_is_a_planar_roi_in_column_and_row(tmp_path: Path) -> None:
    report = dcmread(one_image(small_ct(), FAKE, regions=((1, NODULE),)).report(tmp_path).path)
    region = group(report, "Region 1 in image 1 of series 1")
    assert region.ContentTemplateSequence[0].TemplateIdentifier == "1410"
    uid = header(small_ct()).SOPInstanceUID
    outline = ("POLYLINE", [10, 20, 40, 20, 40, 60, 10, 60, 10, 20], (uid, None))
    assert values(region)["Image Region"] == [outline]
    assert values(region)["Model score (logit, above zero leans to fake)"] == [2.5]
    assert values(group(report, "Image 1 of series 1"))["Image Region"] == [outline]


def _two_frames(**changes: object) -> ImageFinding:
    found = finding(report_cases.two_frames(), FAKE, regions=((2, NODULE),), frame_numbers=(1, 2))
    return replace(found, attributes=replace(found.attributes, **changes))


def test_frames_are_named_where_the_sop_class_has_frames(tmp_path: Path) -> None:
    found = _two_frames(sop_class_uid=str(MultiFrameGrayscaleByteSecondaryCaptureImageStorage))
    made = case([report_cases.two_frames()], study([series([found], report_cases.KNEE_XR)]))
    report = dcmread(made.report(tmp_path).path)
    uid = found.attributes.sop_instance_uid
    said = values(group(report, "Image 1 of series 1"))
    assert said["Source of Measurement"] == [(uid, [1, 2])]
    region = values(group(report, "Region 1 in frame 2 of image 1 of series 1"))
    assert region["Image Region"][0][2] == (uid, 2)


def test_frames_of_a_single_frame_sop_class_are_named_in_words_only(tmp_path: Path) -> None:
    found = _two_frames()
    made = case([report_cases.two_frames()], study([series([found], report_cases.KNEE_XR)]))
    said = values(group(dcmread(made.report(tmp_path).path), "Image 1 of series 1"))
    assert said["Source of Measurement"] == [(found.attributes.sop_instance_uid, None)]
    assert said["Comment"] == ["Frames: 1, 2."]


def test_a_report_is_preliminary_unless_the_site_says_otherwise(tmp_path: Path) -> None:
    made = one_image(small_ct())
    assert dcmread(made.report(tmp_path).path).PreliminaryFlag == "PRELIMINARY"
    final = made.report(tmp_path, settings=ReportSettings(preliminary=False))
    assert dcmread(final.path).PreliminaryFlag == "FINAL"


def test_the_comprehensive_copy_says_the_same_under_its_own_uid(tmp_path: Path) -> None:
    written = report_cases.ct_series().report(tmp_path)
    original, copy = dcmread(written.path), as_comprehensive(written.path)
    assert copy.SOPClassUID == copy.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
    assert copy.SOPInstanceUID == copy.file_meta.MediaStorageSOPInstanceUID != original.SOPInstanceUID
    assert copy.SOPInstanceUID == as_comprehensive(original).SOPInstanceUID
    assert original.SOPClassUID == written.sop_class_uid  # a data set given is not changed
    del original.SOPClassUID, original.SOPInstanceUID, copy.SOPClassUID, copy.SOPInstanceUID
    assert copy == original


def test_the_evidence_names_images_that_the_verdict_does_not(tmp_path: Path) -> None:
    made = one_image(small_ct())
    other = report_cases.save(header(small_ct()), tmp_path / "s", SOPInstanceUID="1.2.3", SeriesInstanceUID="1.2")
    report = dcmread(made.report(tmp_path, sources={**made.sources, "1.2.3": other}).path)
    assert set(evidence(report)) == {
        (header(small_ct()).SeriesInstanceUID, header(small_ct()).SOPInstanceUID),
        ("1.2", "1.2.3"),
    }


def test_the_equipment_names_node_and_models(tmp_path: Path) -> None:
    settings = ReportSettings(
        manufacturer="Klinik Süd", device_serial_number="n-7", station_name="AI1", node_ae_title="MEDFAKE"
    )
    report = dcmread(report_cases.mixed(tmp_path / "s").report(tmp_path, settings=settings).path)
    assert (report.Manufacturer, report.DeviceSerialNumber, report.StationName) == ("Klinik Süd", "n-7", "AI1")
    node, *models = report.ContributingEquipmentSequence
    assert node.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert node.DeviceUID == report.DeviceUID
    assert [model.ManufacturerModelName for model in models] == ["lung-ct", "knee-xr"]
    assert len({item.DeviceUID for item in report.ContributingEquipmentSequence}) == 3
    declared = report.CodingSchemeIdentificationSequence[0]
    assert declared.CodingSchemeDesignator == "99MEDFAKE"
    assert "research use" in report.SeriesDescription


def test_a_study_without_any_image_still_gets_a_report(tmp_path: Path) -> None:
    made = one_image(small_ct())
    empty = replace(made.verdict, series=(), label=UNASSESSED, probability=None, images_total=0, images_scored=0)
    report = dcmread(made.report(tmp_path, verdict=empty, sources={}).path)
    assert values(group(report, "Study"))["Image authenticity assessment"] == ["not assessed"]
    assert "CurrentRequestedProcedureEvidenceSequence" not in report


def test_a_verdict_without_a_study_has_no_report(tmp_path: Path) -> None:
    made = one_image(small_ct())
    with pytest.raises(ReportError, match="Study Instance UID"):
        made.report(tmp_path, verdict=replace(made.verdict, study_instance_uid=""))


def test_a_language_that_no_report_is_written_in_is_refused() -> None:
    with pytest.raises(ValueError, match="English"):
        ReportSettings(language="de")


def test_four_hundred_suspect_images_take_less_than_a_second(tmp_path: Path) -> None:
    found = finding(small_ct(), FAKE, regions=((1, NODULE),))
    findings = [
        replace(found, attributes=replace(found.attributes, sop_instance_uid=f"1.2.{n}", instance_number=n))
        for n in range(1, 401)
    ]
    made = case([], study([series(findings, report_cases.CHEST_CT)]))
    sources = {each.attributes.sop_instance_uid: small_ct() for each in findings}
    made.report(tmp_path, sources=sources)
    started = time.process_time()
    made.report(tmp_path, sources=sources)
    assert time.process_time() - started < 1


def test_a_report_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = one_image(small_ct())
    synced: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real_fsync(fd))[1])
    report = made.report(tmp_path / "out")
    assert [Path(name).suffix for name in synced] == [".part", ""]  # the file, then its directory
    before = report.path.read_bytes()

    def fail(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        made.report(tmp_path / "out", now=NOW + timedelta(days=1))
    monkeypatch.setattr(os, "replace", real_replace)
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [before]
