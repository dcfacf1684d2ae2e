"""Headers as senders write them: missing, odd, hostile and in any character set. None stops a report."""

import string
import struct
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.charset import python_encoding
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medfake_pacs.entities import ImageFinding, VerdictLabel
from medfake_pacs.report import ReportSettings, sanitise
from medfake_pacs.report.headers import read_header
from tests import report_cases
from tests.report_cases import NOW, case, finding, one_image, series, small_ct, study

_TEXTS = ("PatientName", "PatientID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "StudyID")
_ATTRIBUTES = (
    *_TEXTS,
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "TimezoneOffsetFromUTC",
    "SeriesNumber",
)
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_VRS = ("AE", "CS", "DA", "IS", "LO", "PN", "SH", "SQ", "TM", "UI", "UN", "US", "FD", "UT")


def _deflate(data_set: bytes) -> bytes:
    deflater = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    return deflater.compress(data_set) + deflater.flush()


def source(folder: Path, attributes: dict[str, tuple[str, bytes]]) -> Path:
    """Write a Part 10 file with these raw values, each as VR and bytes: what a sender may put on the wire."""
    dataset = dcmread(small_ct(), stop_before_pixels=True)
    raw = {Tag(keyword): (dataset[keyword].VR, str(dataset[keyword].value).encode()) for keyword in _UIDS}
    raw |= {Tag(keyword): value for keyword, value in attributes.items()}
    buffer = BytesIO(_file_meta(ExplicitVRLittleEndian))
    buffer.seek(0, SEEK_END)
    for tag, (vr, value) in sorted(raw.items()):
        padded = value + b"\0" * (len(value) % 2)
        long = vr in ("SQ", "UN", "UT")
        length = struct.pack("<HL", 0, len(padded)) if long else struct.pack("<H", len(padded))
        buffer.write(struct.pack("<HH", tag.group, tag.element) + vr.encode() + length + padded)
    path = folder / "source.dcm"
    path.write_bytes(buffer.getvalue())
    return path


def _file_meta(transfer_syntax: UID) -> bytes:
    meta = dcmread(small_ct(), stop_before_pixels=True).file_meta
    meta.TransferSyntaxUID = transfer_syntax
    buffer = BytesIO()
    write_file_meta_info(buffer, meta)
    return bytes(128) + b"DICM" + buffer.getvalue()


def reported(folder: Path, **attributes: bytes) -> Dataset:
    """Return the report on a source with these raw values, each in the VR that the standard gives it."""
    vrs = {"PatientName": "PN", "ReferringPhysicianName": "PN", "PatientBirthDate": "DA", "StudyDate": "DA"}
    vrs |= {"StudyTime": "TM", "PatientSex": "CS", "SpecificCharacterSet": "CS", "SeriesNumber": "IS"}
    vrs |= {"AccessionNumber": "SH", "StudyID": "SH", "TimezoneOffsetFromUTC": "SH"}
    path = source(folder, {key: (vrs.get(key, "LO"), value) for key, value in attributes.items()})
    made = case([], study([series([finding(small_ct(), VerdictLabel.REAL)], report_cases.KNEE_XR)]))
    uid = made.verdict.series[0].findings[0].attributes.sop_instance_uid
    return dcmread(made.report(folder, sources={uid: path}).path)


def test_missing_type_2_attributes_are_present_and_empty(tmp_path: Path) -> None:
    report = dcmread(report_cases.without_type_2(tmp_path / "s").report(tmp_path).path)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"):
        assert keyword in report
        assert not report[keyword].value
    assert report.AccessionNumber == ""


def test_identifiers_are_never_cut(tmp_path: Path) -> None:
    patient, accession = b"P" * 90, b"ACC-2026-000000000001234"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom says that they are too long
        report = reported(tmp_path, PatientID=patient, AccessionNumber=accession)
        assert (report.PatientID, report.AccessionNumber) == (patient.decode(), accession.decode())


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientBirthDate", b"1970.01.31", "19700131"),
        ("PatientBirthDate", b"19700231", ""),
        ("PatientBirthDate", b"yesterday", ""),
        ("StudyTime", b"10:11:12", "101112"),
        ("StudyTime", b"101112.123456789", ""),
        ("StudyTime", b"2515", ""),
        ("PatientSex", b"m", "M"),
        ("PatientSex", b"UNKNOWN", ""),
        ("StudyDescription", b"a\x07b\\c" + b"x" * 100, "a b/c" + "x" * 59),
        ("PatientName", b"A" * 100 + b"^B=C=D=E", "A" * 64 + "=C=D"),
        ("PatientName", b"One^A\\Two^B", "One^A"),
        ("PatientID", b" 12\x00\x1b34 ", "1234"),
    ],
)
def test_a_value_is_mended_or_left_empty(tmp_path: Path, keyword: str, value: bytes, expected: str) -> None:
    assert str(reported(tmp_path, **{keyword: value})[keyword].value) == expected


@pytest.mark.parametrize(
    ("declared", "name", "expected", "written"),
    [
        (b"", "Jérôme".encode(), "Jérôme", "ISO_IR 192"),
        (b"", "Jérôme".encode("latin-1"), "Jérôme", "ISO_IR 192"),
        (b"ISO_IR 999", "山田".encode(), "山田", "ISO_IR 192"),
        (b"ISO_IR_192", "山田".encode(), "山田", "ISO_IR 192"),
        (b"ISO_IR 192", "Jérôme".encode("latin-1"), "Jérôme", "ISO_IR 192"),
        (b"ISO_IR 100", "Jérôme".encode("latin-1"), "Jérôme", "ISO_IR 100"),
        (b"ISO_IR 100", b"Smith^A", "Smith^A", "ISO_IR 100"),
        (b"ISO_IR 6", b"Smith^A", "Smith^A", None),
        (b"garbage", b"Smith^A", "Smith^A", None),
    ],
)
def test_text_is_read_as_meant_and_its_set_declared(
    tmp_path: Path, declared: bytes, name: bytes, expected: str, written: str | None
) -> None:
    report = reported(tmp_path, SpecificCharacterSet=declared, PatientName=name)
    assert str(report.PatientName) == expected
    assert report.get("SpecificCharacterSet") == written


def test_utf_8_where_the_sources_set_is_too_small(tmp_path: Path) -> None:
    path = report_cases.charset_file("chrFren")
    found = finding(path, VerdictLabel.INDETERMINATE, reason="Röntgen 山田")
    written = case([path], study([series([found], report_cases.KNEE_XR)])).report(tmp_path).path
    report = dcmread(written)
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == "Buc^Jérôme"
    assert "Reason: Röntgen 山田.".encode() in written.read_bytes()


def test_attributes_are_not_mixed_from_two_patients(tmp_path: Path) -> None:
    paths = [
        report_cases.save(report_cases.header(small_ct()), tmp_path, SOPInstanceUID=f"1.2.{n}", **changes)
        for n, changes in enumerate(
            ({"PatientID": ""}, {"PatientID": "A", "AccessionNumber": ""}, {"PatientID": "B", "AccessionNumber": "9"})
        )
    ]
    findings = [finding(path, VerdictLabel.REAL) for path in paths]
    report = dcmread(case(paths, study([series(findings, report_cases.KNEE_XR)])).report(tmp_path).path)
    assert (report.PatientID, report.AccessionNumber) == ("A", "")


@pytest.mark.parametrize("content", [None, b"", b"not DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_without_a_readable_source_the_report_says_what_was_recorded(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "source"
    if content is not None:
        path.write_bytes(content)
    found = finding(small_ct(), VerdictLabel.REAL)
    attributes = {"patient_id": "P1", "accession_number": "A1", "study_description": "Thorax"}
    found = _with(found, **attributes)
    made = case([], study([series([found], report_cases.KNEE_XR)]))
    report = dcmread(made.report(tmp_path, sources={found.attributes.sop_instance_uid: path}).path)
    assert (report.PatientID, report.AccessionNumber, report.StudyDescription) == ("P1", "A1", "Thorax")
    assert (report.StudyInstanceUID, report.PatientName) == (found.attributes.study_instance_uid, "")


def _with(found: ImageFinding, **changes: Any) -> ImageFinding:
    return replace(found, attributes=replace(found.attributes, **changes))


def test_uids_are_repeated_as_they_came(tmp_path: Path) -> None:
    found = _with(finding(small_ct(), VerdictLabel.FAKE), sop_instance_uid="1.02.3", series_instance_uid="1.2..3")
    report = dcmread(case([], study([series([found], report_cases.KNEE_XR)])).report(tmp_path).path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom says that they are invalid
        shown = str(report)
    assert shown.count("UI: 1.02.3") >= 3  # evidence, image library, series, image
    assert "UI: 1.2..3" in shown


@pytest.mark.parametrize(("offset", "hours"), [(b"+0900", 9), (b"-0330", -3.5)])
def test_times_are_in_the_zone_that_the_source_names(tmp_path: Path, offset: bytes, hours: float) -> None:
    report = reported(tmp_path, TimezoneOffsetFromUTC=offset)
    expected = NOW.astimezone(timezone(timedelta(hours=hours))).replace(tzinfo=None)
    assert report.TimezoneOffsetFromUTC == offset.decode()
    assert datetime.strptime(report.ContentDate + report.ContentTime, "%Y%m%d%H%M%S.%f") == expected.replace(
        tzinfo=None
    )


def test_names_of_the_site_may_be_anything(tmp_path: Path) -> None:
    odd = ReportSettings(manufacturer="ä\\" * 80, station_name="x" * 40, device_serial_number="\x07", node_ae_title="M")
    report = dcmread(one_image(small_ct()).report(tmp_path, settings=odd).path)
    assert report.Manufacturer == "ä/" * 32
    assert report.StationName == "x" * 16
    assert report.DeviceSerialNumber == "unknown"


_PATIENT_ID = struct.pack("<HH2sH", 0x0010, 0x0020, b"LO", 4) + b"P1  "


def _bomb() -> bytes:
    return struct.pack("<HH2sHL", 0x0009, 0x1000, b"UN", 0, 100 * 2**20) + bytes(100 * 2**20) + _PATIENT_ID


def _lying_length() -> bytes:
    return struct.pack("<HH2sHL", 0x0010, 0x0010, b"UT", 0, 0xFFFFFFF0) + b"Name"


def _deep_sequences() -> bytes:
    sequence = struct.pack("<HH2sHL", 0x0009, 0x1000, b"SQ", 0, 0xFFFFFFFF)
    return sequence + 5000 * (struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + sequence) + _PATIENT_ID


def _many_items() -> bytes:
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    return sequence + 400_000 * struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def _some_items() -> bytes:
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    return sequence + 1000 * struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def _many_elements() -> bytes:
    study_date = struct.pack("<HH2sH", 0x0008, 0x0020, b"DA", 8) + b"20260102"
    return study_date + b"".join(struct.pack("<HH2sH", 0x0009, 0x1000 + n % 60_000, b"LO", 0) for n in range(400_000))


@pytest.mark.parametrize(
    ("transfer_syntax", "data_set", "patient_id"),
    [
        (DeflatedExplicitVRLittleEndian, lambda: _deflate(_PATIENT_ID), "P1"),
        (DeflatedExplicitVRLittleEndian, lambda: _deflate(_bomb()), "recorded"),
        (ExplicitVRLittleEndian, _bomb, "P1"),
        (ExplicitVRLittleEndian, _lying_length, "recorded"),
        (ExplicitVRLittleEndian, _deep_sequences, "recorded"),
        (ExplicitVRLittleEndian, lambda: _some_items() + _PATIENT_ID, "P1"),
        (ExplicitVRLittleEndian, lambda: _many_items() + _PATIENT_ID, "recorded"),
        (ExplicitVRLittleEndian, lambda: _many_elements() + _PATIENT_ID, "recorded"),
    ],
    ids=["deflated", "bomb", "long value", "lying length", "deep sequences", "items", "many items", "many elements"],
)
def test_a_hostile_file_costs_little_memory(
    tmp_path: Path, transfer_syntax: UID, data_set: Callable[[], bytes], patient_id: str
) -> None:
    path = tmp_path / "source.dcm"
    path.write_bytes(_file_meta(transfer_syntax) + data_set())
    found = _with(finding(small_ct(), VerdictLabel.REAL), patient_id="recorded")
    made = case([], study([series([found], report_cases.KNEE_XR)]))
    tracemalloc.start()
    written = made.report(tmp_path, sources={found.attributes.sop_instance_uid: path})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert dcmread(written.path).PatientID == patient_id
    assert peak < 64 * 2**20


@pytest.mark.parametrize("data_set", [_many_items, _many_elements, _deep_sequences])
def test_a_hostile_file_costs_little_time(tmp_path: Path, data_set: Callable[[], bytes]) -> None:
    """Bounds for a busy machine; 0.2 s were measured at most, and 7 s for the many items without a limit."""
    path = tmp_path / "source.dcm"
    path.write_bytes(_file_meta(ExplicitVRLittleEndian) + data_set())
    started = time.process_time()
    assert read_header(path, ["StudyDate", "PatientID"]) is None
    assert time.process_time() - started < 2


_BYTES = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")),
    st.text(string.digits + ".:\\^= ", max_size=30).map(str.encode),
)
_CHARSETS = st.one_of(
    st.lists(st.sampled_from(sorted(python_encoding)), min_size=1, max_size=3).map("\\".join),
    st.text(string.ascii_uppercase + string.digits + "_\\ ", max_size=20),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.dictionaries(st.sampled_from(_ATTRIBUTES), st.tuples(st.sampled_from(_VRS), _BYTES)),
    declared=_CHARSETS,
    reason=st.text(max_size=40),
)
def test_no_header_stops_a_report(
    tmp_path: Path, values: dict[str, tuple[str, bytes]], declared: str, reason: str
) -> None:
    path = source(tmp_path, {**values, "SpecificCharacterSet": ("CS", declared.encode())})
    found = finding(small_ct(), VerdictLabel.INDETERMINATE, reason=reason, conflict=reason)
    made = case([], study([series([found], report_cases.KNEE_XR, reason=reason)], reason=reason))
    written = made.report(tmp_path, sources={found.attributes.sop_instance_uid: path})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = dcmread(written.path)
        shown = str(report)
    assert (
        "\ufffd" not in shown or "\ufffd" in reason or any("\ufffd".encode() in value for _, value in values.values())
    )
    assert sanitise.da(report.StudyDate) == report.StudyDate
    assert sanitise.tm(report.StudyTime) == report.StudyTime
    assert report.PatientSex in ("", "M", "F", "O")
    assert len(report.get("StudyDescription", "")) <= 64
