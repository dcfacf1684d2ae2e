"""The whole main path with nothing mocked: real peers send, the node answers with reports, the log proves it."""

import json
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from highdicom.sr import srread
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests import material
from tests.node import NodeProcess
from tests.orthanc import OrthancPeer
from tests.support import need_tool, wait_for

MakeNode = Callable[..., NodeProcess]
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"


def _reports(orthanc: OrthancPeer, study_uid: str) -> list[Dataset]:
    return [dcmread(BytesIO(content)) for content in orthanc.reports_of(study_uid)]


def _to_orthanc(orthanc: OrthancPeer) -> list[tuple[str, str, int]]:
    return [("pacs", orthanc.ae_title, orthanc.dicom_port)]


def _assert_valid(report: Dataset, folder: Path) -> None:
    path = folder / f"{report.SOPInstanceUID}.dcm"
    report.save_as(path)
    checked = subprocess.run([need_tool("/usr/bin/dciodvfy"), str(path)], capture_output=True, text=True, check=False)
    assert not [line for line in checked.stderr.splitlines() if line.startswith("Error")], checked.stderr
    assert srread(str(path)).SOPInstanceUID == report.SOPInstanceUID


def test_orthanc_sends_and_gets_valid_reports_in_the_same_studies(
    orthanc: OrthancPeer, make_node: MakeNode, tmp_path: Path
) -> None:
    node = make_node(destinations=_to_orthanc(orthanc))
    series = material.ct_series(6, source=material.CT_512)
    xray = material.radiograph()
    for path in material.save([*series, xray], tmp_path / "sent"):
        orthanc.upload(path)
    node.start()
    orthanc.request("/modalities/node", {"AET": node.ae_title, "Host": "127.0.0.1", "Port": node.port}, "PUT")
    orthanc.store_to("node", [study["ID"] for study in orthanc.studies()])
    node.wait_idle(7)

    for study_uid, count in ((series[0].StudyInstanceUID, 6), (xray.StudyInstanceUID, 1)):
        (report,) = _reports(orthanc, study_uid)
        assert report.SOPClassUID == COMPREHENSIVE_3D_SR
        assert report.StudyInstanceUID == study_uid
        assert report.PatientID == "TEST-1"
        evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        assert sum(len(item.ReferencedSOPSequence) for item in evidence) == count
        _assert_valid(report, tmp_path)
        (verdict,) = node.rows("verdicts", scope="study", scope_uid=study_uid)
        assert verdict.images_total == count
        assert verdict.verdict in {"real", "fake", "indeterminate"}
    assert node.command("audit", "verify").returncode == 0
    assert node.stop() == 0


def test_the_same_object_again_makes_no_second_report(orthanc: OrthancPeer, make_node: MakeNode) -> None:
    node = make_node(destinations=_to_orthanc(orthanc)).start()
    series = material.ct_series(2)
    assert material.send(node.port, series) == [0, 0]
    node.wait_idle(2)
    assert material.send(node.port, series) == [0, 0]
    wait_for(lambda: len(node.rows("audit_events", kind="instance-duplicate")) == 2, 10, "two duplicates in the log")
    other = material.ct_series(1)
    assert material.send(node.port, other) == [0]
    node.wait_idle(3)
    assert len(node.rows("revisions", study_instance_uid=series[0].StudyInstanceUID)) == 1
    assert len(_reports(orthanc, series[0].StudyInstanceUID)) == 1


def test_one_pixel_changed_under_the_same_uid_is_kept_and_reported(orthanc: OrthancPeer, make_node: MakeNode) -> None:
    node = make_node(destinations=_to_orthanc(orthanc)).start()
    (first,) = material.ct_series(1)
    assert material.send(node.port, [first]) == [0]
    node.wait_idle(1)
    assert material.send(node.port, [material.with_one_pixel_changed(first)]) == [0]
    node.wait_idle(2)

    uid = first.SOPInstanceUID
    rows = node.rows("instances", sop_instance_uid=uid)
    assert [row.conflict_of for row in rows] == [None, rows[0].instance_id]
    assert all((node.state_dir / "spool" / row.path).is_file() for row in rows)
    assert rows[0].pixel_sha256 != rows[1].pixel_sha256
    reports = sorted(_reports(orthanc, first.StudyInstanceUID), key=lambda item: item.ContentTime)
    assert len(reports) == 2
    assert (
        reports[1]
        .PredecessorDocumentsSequence[0]
        .ReferencedSeriesSequence[0]
        .ReferencedSOPSequence[0]
        .ReferencedSOPInstanceUID
        == reports[0].SOPInstanceUID
    )
    assert "differ in their pixels" in reports[1].to_json()
    found = node.command("audit", "query", "--kind", "instance-conflict", "--format", "jsonl")
    assert uid in found.stdout
    (verdict,) = node.rows("verdicts", scope="study", revision=2)
    assert verdict.verdict != "real"


def test_a_late_image_makes_a_new_revision(orthanc: OrthancPeer, make_node: MakeNode) -> None:
    node = make_node(destinations=_to_orthanc(orthanc)).start()
    study, series = generate_uid(), generate_uid()
    assert material.send(node.port, material.ct_series(2, study_uid=study, series_uid=series)) == [0, 0]
    node.wait_idle(2)
    late = material.ct_series(1, study_uid=study, series_uid=series, start=3, seed=9)
    assert material.send(node.port, late) == [0]
    node.wait_idle(3)
    totals = [row.images_total for row in node.rows("verdicts", scope="study", scope_uid=study)]
    assert totals == [2, 3]
    assert len(_reports(orthanc, study)) == 2
    # Only the late image had to be scored.
    assert len(node.rows("audit_events", kind="image-scored")) == 3


def test_a_destination_that_is_down_for_a_while_loses_and_doubles_nothing(
    orthanc: OrthancPeer, make_node: MakeNode
) -> None:
    node = make_node(destinations=_to_orthanc(orthanc)).start()
    orthanc.stop()
    studies = [material.ct_series(1, seed=seed)[0] for seed in range(3)]
    for item in studies:
        assert material.send(node.port, [item]) == [0]
    wait_for(
        lambda: len(node.rows("deliveries", state="waiting")) == 3 and len(node.rows("delivery_attempts")) >= 3,
        60,
        "failed attempts",
    )
    orthanc.start()
    node.wait_idle(3)
    for item in studies:
        assert len(_reports(orthanc, item.StudyInstanceUID)) == 1
    listed = json.loads(node.command("deliveries", "list", "--attempts", "--format", "json").stdout)
    text = json.dumps(listed)
    assert "refused" in text
    attempts = node.rows("delivery_attempts")
    assert [row.succeeded for row in attempts].count(True) == 3
    for delivery in node.rows("deliveries"):
        mine = [row for row in attempts if row.delivery_id == delivery.delivery_id]
        assert [row.number for row in mine] == list(range(1, len(mine) + 1))
        assert mine[-1].succeeded


@pytest.mark.parametrize("report_unrouted", [True, False])
def test_an_unrouted_study_is_not_assessed_and_reported_only_if_wanted(
    orthanc: OrthancPeer, make_node: MakeNode, report_unrouted: bool
) -> None:
    extra = f"[report]\nreport_unrouted = {str(report_unrouted).lower()}\n"
    node = make_node(destinations=_to_orthanc(orthanc), extra=extra).start()
    image = material.shipped("MR_small.dcm")
    assert material.send(node.port, [image]) == [0]
    node.wait_idle(1)
    (verdict,) = node.rows("verdicts", scope="study")
    assert verdict.verdict == "not assessed"
    assert verdict.reason == "no route matches this image"
    assert len(_reports(orthanc, image.StudyInstanceUID)) == int(report_unrouted)


def test_a_truncated_image_is_not_assessed_and_the_report_is_partial(
    orthanc: OrthancPeer, make_node: MakeNode, tmp_path: Path
) -> None:
    node = make_node(destinations=_to_orthanc(orthanc)).start()
    series = material.ct_series(3)
    series[1].PixelData = series[1].PixelData[:1000]
    assert material.send(node.port, series) == [0, 0, 0]
    node.wait_idle(3)
    (report,) = _reports(orthanc, series[0].StudyInstanceUID)
    assert report.CompletionFlag == "PARTIAL"
    _assert_valid(report, tmp_path)
    (row,) = node.rows("instances", sop_instance_uid=series[1].SOPInstanceUID)
    assert "truncated" in row.not_assessed_reason
