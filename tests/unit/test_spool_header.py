"""What is read of a header, and that a stranger's bytes cost neither memory nor more than a refusal."""

import struct
import time
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from medfake_pacs.entities import ImageAttributes
from medfake_pacs.errors import CannotUnderstandError
from medfake_pacs.spool.header import configure_reading, read_attributes, read_file_meta

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
# pydicom warns of much that these tests are about; the receiver lets it, unheard.
pytestmark = pytest.mark.filterwarnings("ignore")
configure_reading()


def _data_set(**values: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.5"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _encoded(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    buffer = BytesIO()
    stream = DicomIO(buffer)
    stream.is_implicit_VR, stream.is_little_endian = syntax == IMPLICIT, syntax != BIG
    write_dataset(stream, dataset)
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflater.compress(buffer.getvalue()) + deflater.flush()
    return buffer.getvalue()


def _read(folder: Path, content: bytes, syntax: str = EXPLICIT) -> ImageAttributes:
    path = folder / "object"
    path.write_bytes(content)
    return read_attributes(path, data_set_offset=0, transfer_syntax_uid=syntax)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_the_header_is_the_same_in_every_encoding(tmp_path: Path, syntax: str) -> None:
    dataset = _data_set(
        SpecificCharacterSet="ISO_IR 192", Modality="DX", BodyPartExamined="KNEE", StudyDescription="膝",
        PatientID="1234", AccessionNumber="A", ImageType=["DERIVED", "PRIMARY"], InstanceNumber=7,
        NumberOfFrames=3, SliceLocation=1.5, LossyImageCompression="01", SyntheticData="YES",
    )  # fmt: skip
    read = _read(tmp_path, _encoded(dataset, syntax), syntax)
    assert (read.modality, read.body_part, read.study_description, read.patient_id) == ("DX", "KNEE", "膝", "1234")
    assert (read.image_type, read.instance_number, read.number_of_frames) == ("DERIVED\\PRIMARY", 7, 3)
    assert (read.slice_position_mm, read.lossy, read.synthetic_data) == (1.5, True, "YES")


def test_the_position_is_along_the_normal(tmp_path: Path) -> None:
    dataset = _data_set(ImagePositionPatient=[1, 20, 3], ImageOrientationPatient=[1, 0, 0, 0, 0, -1], SliceLocation=9)
    assert _read(tmp_path, _encoded(dataset)).slice_position_mm == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("InstanceNumber", "99999999999"), ("NumberOfFrames", "many"), ("NumberOfFrames", "-5"),
        ("SliceLocation", "1e999"), ("SliceLocation", "here"), ("ImagePositionPatient", "1\\2"),
        ("SpecificCharacterSet", "KLINGON"), ("ImageType", ""), ("PatientID", "x" * 60_000),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_absent_and_the_object_is_kept(tmp_path: Path, keyword: str, value: str) -> None:
    dataset = _data_set(Modality="CT")
    tag, data = Tag(keyword), value.encode() + b" " * (len(value) % 2)
    dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(data), data, 0, False, True)
    read = _read(tmp_path, _encoded(dataset))
    assert read.modality == "CT"
    assert read.instance_number is None
    assert read.number_of_frames == 1
    assert read.slice_position_mm is None
    assert len(read.patient_id) <= 256


def test_text_can_go_into_any_database(tmp_path: Path) -> None:
    read = _read(tmp_path, _encoded(_data_set(PatientID="a\x00b\ud800".encode("utf-8", "surrogatepass"))))
    assert "\x00" not in read.patient_id
    read.patient_id.encode("utf-8")


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, "", "../x", "1.2.3a", ".1.2", "1" * 65, "1.2\\1.3", "\uff11.2"])
def test_an_object_without_its_uids_is_refused(tmp_path: Path, keyword: str, value: str | None) -> None:
    dataset = _data_set()
    if value is None:
        del dataset[keyword]
    else:
        setattr(dataset, keyword, value.encode("utf-8").decode("latin-1"))
    with pytest.raises(CannotUnderstandError):
        _read(tmp_path, _encoded(dataset))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), syntax=st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED]))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, syntax: str) -> None:
    with pytest.raises(CannotUnderstandError):
        _read(tmp_path, content, syntax)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_header_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(_encoded(_data_set(Modality="CT", InstanceNumber=3, ImagePositionPatient=[1, 2, 3])))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = _read(tmp_path, bytes(content[: data.draw(st.integers(0, len(content)))]))
    except CannotUnderstandError:
        return
    assert read.sop_class_uid


def _element(group: int, element: int, representation: bytes, length: int) -> bytes:
    return struct.pack("<HH2sHI", group, element, representation, 0, length)


@pytest.mark.parametrize(
    "content",
    [
        _element(0x0008, 0x0018, b"UN", 0xFFFFFFF0) + b"1.2",
        _element(0x0008, 0x0001, b"OB", 0xFFFFFFFF) + b"\x00" * 1000,
        b"".join(
            _element(0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" for _ in range(9000)
        ),
        struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", 0xFFFF) + b"\\" * 0xFFFF,
    ],
    ids=["4 GiB value", "endless value", "nested 9000 deep", "many character sets"],
)
def test_lying_lengths_are_refused_in_bounded_memory_and_time(tmp_path: Path, content: bytes) -> None:
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(CannotUnderstandError):
        _read(tmp_path, content)
    assert time.monotonic() - started < 10
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


def test_a_deflate_bomb_is_not_inflated(tmp_path: Path) -> None:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    header = _encoded(_data_set())
    bomb = deflater.compress(header + _element(0x7FE0, 0x0010, b"OW", 2**29))
    bomb += b"".join(deflater.compress(bytes(2**20)) for _ in range(256)) + deflater.flush()
    tracemalloc.start()
    assert _read(tmp_path, bomb, DEFLATED).sop_instance_uid == "1.2.3"
    assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    tracemalloc.stop()


def test_a_long_sequence_before_the_pixels_is_bounded(tmp_path: Path) -> None:
    item = (
        b"\xfe\xff\x00\xe0" + struct.pack("<I", 2**20) + _element(0x0009, 0x0001, b"OB", 2**20 - 12) + bytes(2**20 - 12)
    )
    content = _element(0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + item * 80
    tracemalloc.start()
    with pytest.raises(CannotUnderstandError):
        _read(tmp_path, content)
    assert tracemalloc.get_traced_memory()[1] < 80 * 2**20
    tracemalloc.stop()


def _items(number: int, item: bytes) -> bytes:
    sequence = _element(0x0008, 0x1140, b"SQ", 0xFFFFFFFF)
    return sequence + item * number + b"\xfe\xff\xdd\xe0" + bytes(4)


@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED])
def test_very_many_items_are_refused_soon(tmp_path: Path, syntax: str) -> None:
    content = _items(400_000, b"\xfe\xff\x00\xe0" + bytes(4)) + _encoded(_data_set())
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = deflater.compress(content) + deflater.flush()
    started = time.process_time()
    with pytest.raises(CannotUnderstandError):
        _read(tmp_path, content, syntax)
    assert time.process_time() - started < 4
    tracemalloc.start()
    with pytest.raises(CannotUnderstandError):
        _read(tmp_path, content, syntax)
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


def test_references_to_thousands_of_images_are_passed_over(tmp_path: Path) -> None:
    dataset = _data_set()
    references = []
    for number in range(2000):
        references.append(Dataset())
        references[-1].ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        references[-1].ReferencedSOPInstanceUID = f"1.2.3.{number}"
        references[-1].is_undefined_length_sequence_item = True
    dataset.ReferencedImageSequence = references
    dataset["ReferencedImageSequence"].is_undefined_length = True
    content = _encoded(dataset)
    assert len(content) > 2**17
    assert _read(tmp_path, content).study_instance_uid == dataset.StudyInstanceUID


def test_a_real_file_is_read(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("CT_small.dcm")))
    meta, offset = read_file_meta(path)
    read = read_attributes(path, data_set_offset=offset, transfer_syntax_uid=str(meta.TransferSyntaxUID))
    assert (read.modality, read.patient_id, read.instance_number) == ("CT", "1CT1", 1)
    assert read.slice_position_mm == pytest.approx(-75.699997)


def test_what_is_no_part_10_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"DICM", bytes(132), bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\xff" * 50):
        (tmp_path / "object").write_bytes(content)
        with pytest.raises(CannotUnderstandError):
            read_file_meta(tmp_path / "object")
