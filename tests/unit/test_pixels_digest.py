"""The pixel digest names what an image is: the same in every lossless transfer syntax, another for any change."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medfake_pacs.pixels import inspect, pixel_digest
from tests.unit.pixels_support import LIMITS, dataset, frames_of, write

DEFLATED_IMAGE_FRAME = UID("1.2.840.10008.1.2.8.1")


def digest_of(path: Path) -> str:
    return pixel_digest((frame.sha256 for frame in frames_of(path)), inspect(path, LIMITS))


def _slice(signed: bool = False, bits_stored: int = 12) -> Dataset:
    noise = np.random.default_rng(7).integers(0, 1 << bits_stored, (64, 80))
    stored = (noise - (1 << (bits_stored - 1)) if signed else noise).astype("<i2" if signed else "<u2")
    return dataset(stored, BitsStored=bits_stored, HighBit=bits_stored - 1, RescaleSlope=1, RescaleIntercept=-1024)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits_stored", [12, 16])
def test_equal_in_every_lossless_transfer_syntax(tmp_path: Path, signed: bool, bits_stored: int) -> None:
    reference = write(_slice(signed, bits_stored), tmp_path / "reference.dcm")
    digests = {"explicit": digest_of(reference)}
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        digests[syntax.name] = digest_of(write(dcmread(reference), tmp_path / "plain.dcm", syntax))
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        image = dcmread(reference)
        image.compress(syntax, generate_instance_uid=False)
        image.save_as(tmp_path / "compressed.dcm")
        digests[syntax.name] = digest_of(tmp_path / "compressed.dcm")
    assert len(set(digests.values())) == 1, digests


def test_equal_in_big_endian(tmp_path: Path) -> None:
    little, big = _slice(), _slice()
    big.PixelData = np.frombuffer(big.PixelData, dtype="<u2").astype(">u2").tobytes()
    expected = digest_of(write(little, tmp_path / "little.dcm"))
    assert digest_of(write(big, tmp_path / "big.dcm", ExplicitVRBigEndian)) == expected


def test_equal_in_deflated_frames(tmp_path: Path) -> None:
    image = _slice()
    expected = digest_of(write(image, tmp_path / "plain.dcm"))
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(image.PixelData) + deflater.flush()
    image.PixelData = encapsulate([deflated])
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    path = write(image, tmp_path / "deflated.dcm", JPEG2000Lossless)
    # pydicom does not know the transfer syntax, so the file is written under another of the same length.
    path.write_bytes(path.read_bytes().replace(JPEG2000Lossless.encode(), DEFLATED_IMAGE_FRAME.encode() + b"\0"))
    assert inspect(path, LIMITS).transfer_syntax_uid == DEFLATED_IMAGE_FRAME
    assert digest_of(path) == expected


def test_equal_for_colour_by_pixel_and_by_plane(tmp_path: Path) -> None:
    stored = np.random.default_rng(3).integers(0, 256, (6, 4, 3)).astype("u1")
    by_pixel, by_plane = dataset(stored), dataset(stored, PlanarConfiguration=1)
    by_plane.PixelData = stored.transpose(2, 0, 1).tobytes()
    expected = digest_of(write(by_pixel, tmp_path / "pixel.dcm"))
    assert digest_of(write(by_plane, tmp_path / "plane.dcm")) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"PixelData": b"\1" + bytes(64 * 80 * 2 - 1)},
        {"RescaleIntercept": -1000},
        {"RescaleSlope": 2},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PixelRepresentation": 1},
        {"Rows": 80, "Columns": 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_for_any_change_that_changes_what_the_model_sees(tmp_path: Path, change: dict[str, object]) -> None:
    image = _slice()
    before = digest_of(write(image, tmp_path / "before.dcm"))
    for keyword, value in change.items():
        setattr(image, keyword, value)
    assert digest_of(write(image, tmp_path / "after.dcm", ExplicitVRLittleEndian)) != before


def test_unchanged_by_what_is_no_pixel(tmp_path: Path) -> None:
    image = _slice()
    before = digest_of(write(image, tmp_path / "before.dcm"))
    image.PatientName = "Somebody^Else"
    assert digest_of(write(image, tmp_path / "after.dcm")) == before


def test_frames_swapped_are_another_image(tmp_path: Path) -> None:
    one, two = np.zeros((4, 4), "<u2"), np.ones((4, 4), "<u2")
    first = write(dataset(np.stack([one, two]), frames=2), tmp_path / "first.dcm")
    second = write(dataset(np.stack([two, one]), frames=2), tmp_path / "second.dcm")
    assert digest_of(first) != digest_of(second)
