"""Damaged and hostile files end in PixelError with a reason, in bounded memory; nothing else ever comes out."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import decode_frames, inspect
from tests.unit.pixels_support import LIMITS, dataset, frames_of, ramp, write


def _encapsulated(image: Dataset, codestreams: list[bytes], path: Path, syntax: UID, has_bot: bool = True) -> Path:
    image.PixelData = encapsulate(codestreams, has_bot=has_bot)
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    return write(image, path, syntax)


def _jpeg(value: int = 100, size: tuple[int, int] = (6, 8)) -> bytes:
    target = io.BytesIO()
    Image.new("L", size, value).save(target, "JPEG")
    return target.getvalue()


def _refused(path: Path, reason: str) -> None:
    with pytest.raises(PixelError, match=reason):
        frames_of(path)


def test_truncated_file_names_what_is_there(tmp_path: Path) -> None:
    path = write(dataset(ramp(rows=512, columns=512)), tmp_path / "image.dcm")
    path.write_bytes(path.read_bytes()[: 1024 - 512 * 512 * 2])
    _refused(path, r"^truncated pixel data: 1024 of 524288 bytes$")
    with pytest.raises(PixelError, match="truncated pixel data: 1024 of 524288 bytes"):
        inspect(path, LIMITS)


def test_element_shorter_than_the_header_says(tmp_path: Path) -> None:
    _refused(write(dataset(ramp(), Rows=800), tmp_path / "image.dcm"), "truncated pixel data: 96 of 9600 bytes")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 65535, "Columns": 65535}, "image too large: 65535 x 65535 pixels, the limit is 67108864"),
        ({"NumberOfFrames": 2_000_000_000}, "image too large: 2000000000 frames, the limit is 10000"),
        ({"Rows": 8192, "Columns": 8192, "NumberOfFrames": 9999}, "image too large: 1342043062272 bytes decoded"),
        ({"Rows": 0}, "Rows is 0, it must be 1 to 65535"),
        ({"NumberOfFrames": -3}, "NumberOfFrames is -3"),
        ({"BitsAllocated": 13}, "Bits Allocated 13 is not supported"),
        ({"BitsStored": 17}, "BitsStored is 17, it must be 1 to 16"),
        ({"SamplesPerPixel": 4}, "Photometric Interpretation MONOCHROME2 with 4 Samples per Pixel"),
        ({"PhotometricInterpretation": "CMYK"}, "unsupported Photometric Interpretation CMYK"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is 2"),
    ],
)
def test_impossible_headers(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    image = dataset(ramp())
    for keyword, value in change.items():
        setattr(image, keyword, value)
    _refused(write(image, tmp_path / "image.dcm"), reason)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"123456", b"Secret"),
        (b"MONOCHROME2 ", b"Secret^Name\0"),
        (b"1.2.840.10008.1.2.1\0", b"1.2.Secret^Name.2.1\0"),
        # Rows of nine bytes: the attributes behind it become its value.
        (b"\x28\0\x10\0US\2\0\x08\0", b"\x28\0\x10\0US\x09\0Secret^Na"),
    ],
)
def test_a_reason_quotes_no_value_of_a_damaged_header(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = write(dataset(ramp(), RescaleIntercept=0, RescaleSlope="123456"), tmp_path / "image.dcm")
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new))
    with pytest.raises(PixelError) as caught:
        frames_of(path)
    assert "secret" not in str(caught.value).lower()


def test_rescale_that_is_no_number(tmp_path: Path) -> None:
    path = write(dataset(ramp(), RescaleSlope="123456", RescaleIntercept=0), tmp_path / "image.dcm")
    path.write_bytes(path.read_bytes().replace(b"123456", b"NaN   "))
    _refused(path, "Rescale Slope or Rescale Intercept is not a finite number")


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated"])
def test_missing_attributes(tmp_path: Path, keyword: str) -> None:
    image = dataset(ramp())
    delattr(image, keyword)
    _refused(write(image, tmp_path / "image.dcm"), f"{keyword} is missing")


def test_no_pixel_data(tmp_path: Path) -> None:
    image = dataset(ramp())
    del image.PixelData
    _refused(write(image, tmp_path / "image.dcm"), "^no pixel data$")


@pytest.mark.parametrize("content", [b"", b"DICM", b"\0" * 128 + b"DICM", b"<html>" * 100])
def test_what_is_no_dicom_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(content)
    _refused(path, "not a DICOM file|no pixel data|can't be read")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    _refused(tmp_path / "absent.dcm", "can't be opened: No such file")


def test_unsupported_transfer_syntax_is_named(tmp_path: Path) -> None:
    path = _encapsulated(dataset(ramp()), [b"xx"], tmp_path / "image.dcm", JPEG2000Lossless)
    path.write_bytes(path.read_bytes().replace(JPEG2000Lossless.encode(), b"1.2.840.10008.1.2.4.94"))
    _refused(path, r"^unsupported transfer syntax 1\.2\.840\.10008\.1\.2\.4\.94$")


def test_deflate_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    limits = replace(LIMITS, max_decoded_bytes=1 << 20)
    path = write(dataset(ramp()), tmp_path / "image.dcm", DeflatedExplicitVRLittleEndian)
    head = path.read_bytes()
    head = head[: 132 + 12 + struct.unpack("<L", head[140:144])[0]]
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    private = b"\x09\x00\x01\x10UN\0\0" + struct.pack("<L", 1 << 30)
    bomb = deflater.compress(private) + b"".join(deflater.compress(bytes(1 << 24)) for _ in range(5))
    path.write_bytes(head + bomb + deflater.flush())
    assert path.stat().st_size < 2 << 20
    with pytest.raises(PixelError, match="larger than 68157440 bytes when inflated"):
        list(decode_frames(path, limits))


def test_codestream_of_another_size_than_the_header(tmp_path: Path) -> None:
    image = dataset(ramp("u1"))
    path = _encapsulated(image, [_jpeg(size=(4000, 3000))], tmp_path / "image.dcm", JPEGBaseline8Bit)
    _refused(path, "the codestream is 4000 x 3000 pixels, the header says 6 x 8")


def test_jpeg_2000_that_claims_to_be_huge(tmp_path: Path) -> None:
    image = dataset(ramp(rows=64, columns=64))
    image.file_meta = write(image, tmp_path / "plain.dcm") and dcmread(tmp_path / "plain.dcm").file_meta
    image.compress(JPEG2000Lossless, generate_instance_uid=False)
    image.save_as(tmp_path / "image.dcm")
    whole = (tmp_path / "image.dcm").read_bytes()
    siz = whole.index(b"\xff\x4f\xff\x51")
    huge = whole[: siz + 8] + struct.pack(">LL", 1 << 31, 1 << 31) + whole[siz + 16 :]
    (tmp_path / "image.dcm").write_bytes(huge)
    _refused(tmp_path / "image.dcm", "the codestream has more than 65535 tiles")


@pytest.mark.parametrize("cut", [2, 6])
def test_jpeg_cut_off(tmp_path: Path, cut: int) -> None:
    path = _encapsulated(dataset(ramp("u1")), [_jpeg()[:-cut]], tmp_path / "image.dcm", JPEGBaseline8Bit)
    _refused(path, "truncated codestream: it has no end marker")


def test_rle_header_that_does_not_fit(tmp_path: Path) -> None:
    header = struct.pack("<16L", 1, 64, *[0] * 14)
    path = _encapsulated(dataset(ramp()), [header + b"\0\0"], tmp_path / "image.dcm", RLELossless)
    _refused(path, "the RLE header has 1 segments, the image needs 2")
    header = struct.pack("<16L", 2, 64, 9999, *[0] * 13)
    path = _encapsulated(dataset(ramp()), [header + b"\0\0"], tmp_path / "image.dcm", RLELossless)
    _refused(path, "an RLE segment lies outside the frame")


def test_fragment_longer_than_the_file(tmp_path: Path) -> None:
    path = _encapsulated(dataset(ramp("u1")), [_jpeg()], tmp_path / "image.dcm", JPEGBaseline8Bit)
    path.write_bytes(path.read_bytes()[:-100])
    _refused(path, r"truncated pixel data: \d+ of \d+ bytes of fragment 1")


def test_fewer_fragments_than_frames(tmp_path: Path) -> None:
    image = dataset(np.stack([ramp("u1")] * 5), frames=5)
    path = _encapsulated(image, [_jpeg()] * 3, tmp_path / "image.dcm", JPEGBaseline8Bit)
    _refused(path, "truncated pixel data: 3 fragments for 5 frames")


def test_a_bad_frame_is_named_and_the_ones_before_it_are_had(tmp_path: Path) -> None:
    image = dataset(np.stack([ramp("u1")] * 3), frames=3)
    path = _encapsulated(image, [_jpeg(10), _jpeg(20), _jpeg(30)[:-2]], tmp_path / "image.dcm", JPEGBaseline8Bit)
    seen = []

    def take_all() -> None:
        for frame in decode_frames(path, LIMITS):
            seen.append(round(float(frame.values.mean())))

    with pytest.raises(PixelError, match="truncated codestream of frame 3"):
        take_all()
    assert seen == [10, 20]


@pytest.mark.parametrize("has_bot", [True, False])
def test_frames_in_several_fragments(tmp_path: Path, has_bot: bool) -> None:
    image = dataset(np.stack([ramp("u1")] * 2), frames=2)
    parts = [_jpeg(10), _jpeg(200)]
    image.PixelData = encapsulate(parts, fragments_per_frame=3, has_bot=has_bot)
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    path = write(image, tmp_path / "image.dcm", JPEGBaseline8Bit)
    assert [round(float(frame.values.mean())) for frame in frames_of(path)] == [10, 200]


def test_a_lying_offset_table_changes_nothing(tmp_path: Path) -> None:
    image = dataset(np.stack([ramp("u1")] * 2), frames=2)
    path = _encapsulated(image, [_jpeg(10), _jpeg(200)], tmp_path / "image.dcm", JPEGBaseline8Bit)
    whole = path.read_bytes()
    table = whole.index(b"\xfe\xff\x00\xe0\x08\0\0\0") + 8
    path.write_bytes(whole[:table] + struct.pack("<LL", 0xFFFFFFF0, 12) + whole[table + 8 :])
    assert [round(float(frame.values.mean())) for frame in frames_of(path)] == [10, 200]


def test_sequences_nested_deeper_than_the_parser_goes(tmp_path: Path) -> None:
    path = write(dataset(ramp()), tmp_path / "image.dcm")
    whole = path.read_bytes()
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    start = whole.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(whole[:start] + sequence * 5000 + whole[start:])
    _refused(path, "can't be read|no pixel data")


def test_odd_headers_warn_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = dataset(ramp())
    path = write(image, tmp_path / "image.dcm", ExplicitVRLittleEndian)
    path.write_bytes(path.read_bytes().replace(b"CT", b"ct") + b"\0" * 7)
    assert len(frames_of(path)) == 1
    assert capfd.readouterr() == ("", "")
