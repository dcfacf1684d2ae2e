"""Stored values become modality units: LUT or rescale, padding, inversion, colour, any number of bits."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import inspect
from tests.unit.pixels_support import LIMITS, dataset, frames_of, ramp, write


def _values(tmp_path: Path, image: Dataset, syntax: Any = None) -> np.ndarray:
    path = write(image, tmp_path / "image.dcm", *([syntax] if syntax else []))
    (frame,) = frames_of(path)
    assert frame.values.dtype == np.float32
    assert frame.frame_number == 1
    return frame.values


def test_ct_rescale_gives_hounsfield_units(tmp_path: Path) -> None:
    image = dataset(ramp(), RescaleSlope=2, RescaleIntercept=-1024)
    assert np.array_equal(_values(tmp_path, image), ramp("f4") * 2 - 1024)
    assert inspect(tmp_path / "image.dcm", LIMITS).units == "HU"


def test_rescale_type_names_the_units(tmp_path: Path) -> None:
    path = write(dataset(ramp(), RescaleSlope=1, RescaleIntercept=0, RescaleType="OD"), tmp_path / "image.dcm")
    assert inspect(path, LIMITS).units == "OD"


def test_without_rescale_values_and_units_are_as_stored(tmp_path: Path) -> None:
    assert np.array_equal(_values(tmp_path, dataset(ramp())), ramp("f4"))
    assert inspect(tmp_path / "image.dcm", LIMITS).units == ""


def test_rescale_slope_of_zero_does_not_erase_the_image(tmp_path: Path) -> None:
    image = dataset(ramp(), RescaleSlope=0, RescaleIntercept=5)
    assert np.array_equal(_values(tmp_path, image), ramp("f4"))


def test_modality_lut_clips_to_its_ends(tmp_path: Path) -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 10, 16]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = [100, 200, 300, 400]
    item["LUTData"].VR = "US"
    item.ModalityLUTType = "OD"
    image = dataset(np.array([[9, 10, 11], [12, 13, 14]], dtype="<u2"), Modality="CR", ModalityLUTSequence=[item])
    assert _values(tmp_path, image).tolist() == [[100, 100, 200], [300, 400, 400]]
    assert inspect(tmp_path / "image.dcm", LIMITS).units == "OD"


def test_padding_becomes_the_least_other_value(tmp_path: Path) -> None:
    stored = np.array([[-2000, -2000, 40], [-900, 0, 80]], dtype="<i2")
    image = dataset(stored, RescaleSlope=1, RescaleIntercept=-10)
    image.add_new("PixelPaddingValue", "SS", -2000)
    assert _values(tmp_path, image).tolist() == [[-910, -910, 30], [-910, -10, 70]]


def test_padding_of_a_signed_image_written_as_unsigned(tmp_path: Path) -> None:
    image = dataset(np.array([[-2000, 5], [6, 7]], dtype="<i2"))
    image.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert _values(tmp_path, image).tolist() == [[5, 5], [6, 7]]


@pytest.mark.parametrize("written", [0xF830, 0x0830])
def test_padding_of_twelve_signed_bits_however_it_is_written(tmp_path: Path, written: int) -> None:
    stored = np.array([[0x0830, 5], [6, 7]], dtype="<u2")
    image = dataset(stored, PixelRepresentation=1, BitsStored=12, HighBit=11)
    image.add_new("PixelPaddingValue", "US", written)
    assert _values(tmp_path, image).tolist() == [[5, 5], [6, 7]]


def test_padding_range(tmp_path: Path) -> None:
    image = dataset(np.array([[0, 1, 2], [3, 4, 5]], dtype="<u2"))
    image.add_new("PixelPaddingValue", "US", 0)
    image.add_new("PixelPaddingRangeLimit", "US", 2)
    assert _values(tmp_path, image).tolist() == [[3, 3, 3], [3, 4, 5]]


def test_an_image_of_padding_alone_is_left_as_it_is(tmp_path: Path) -> None:
    image = dataset(np.full((2, 2), 7, dtype="<u2"))
    image.add_new("PixelPaddingValue", "US", 7)
    assert _values(tmp_path, image).tolist() == [[7, 7], [7, 7]]


def test_monochrome1_is_mirrored_within_its_stored_bits(tmp_path: Path) -> None:
    image = dataset(np.array([[0, 4095], [1, 4000]], dtype="<u2"), BitsStored=12, HighBit=11, Modality="DX")
    image.PhotometricInterpretation = "MONOCHROME1"
    assert _values(tmp_path, image).tolist() == [[4095, 0], [4094, 95]]


def test_monochrome1_padding_ends_up_dark(tmp_path: Path) -> None:
    image = dataset(np.array([[4095, 10], [20, 3000]], dtype="<u2"), BitsStored=12, HighBit=11, Modality="DX")
    image.PhotometricInterpretation = "MONOCHROME1"
    image.add_new("PixelPaddingValue", "US", 4095)
    assert _values(tmp_path, image).tolist() == [[1095, 4085], [4075, 1095]]


def test_monochrome1_in_hounsfield_units_keeps_them(tmp_path: Path) -> None:
    image = dataset(ramp(), RescaleSlope=1, RescaleIntercept=-1024, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(_values(tmp_path, image), ramp("f4") - 1024)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", "<i2", "<u4", "<i4"])
def test_integers_of_every_size(tmp_path: Path, dtype: str) -> None:
    stored = (ramp("<i8") - (0 if "u" in dtype else 20)).astype(dtype)
    assert np.array_equal(_values(tmp_path, dataset(stored)), stored.astype(np.float32))


@pytest.mark.parametrize("dtype", ["u1", "i1", ">u2", ">i2", ">u4"])
def test_big_endian(tmp_path: Path, dtype: str) -> None:
    stored = ramp(dtype)
    assert np.array_equal(_values(tmp_path, dataset(stored), ExplicitVRBigEndian), stored.astype(np.float32))


def test_implicit_vr_with_its_ambiguous_padding(tmp_path: Path) -> None:
    image = dataset(np.array([[-5, 1], [2, 3]], dtype="<i2"), PixelPaddingValue=-5)
    assert _values(tmp_path, image, ImplicitVRLittleEndian).tolist() == [[1, 1], [2, 3]]


def test_twelve_stored_bits_ignore_what_lies_above_them(tmp_path: Path) -> None:
    stored = np.array([[0x8FFF, 0x0001], [0xF800, 0x0800]], dtype="<u2")
    image = dataset(stored, BitsStored=12, HighBit=11)
    assert _values(tmp_path, image).tolist() == [[4095, 1], [2048, 2048]]
    signed = dataset(stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert _values(tmp_path, signed).tolist() == [[-1, 1], [-2048, -2048]]


def test_stored_bits_at_the_top_of_the_word(tmp_path: Path) -> None:
    image = dataset(np.array([[0xFFF0, 0x0010], [0x0000, 0x8000]], dtype="<u2"), BitsStored=12, HighBit=15)
    assert _values(tmp_path, image).tolist() == [[4095, 1], [0, 2048]]


def test_one_bit_frames_that_do_not_end_at_a_byte(tmp_path: Path) -> None:
    bits = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 0, 1], [1, 1, 0]]], dtype="u1")
    image = dataset(bits, frames=2, BitsAllocated=1, BitsStored=1, HighBit=0)
    image.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    frames = frames_of(write(image, tmp_path / "bits.dcm"))
    assert [frame.values.tolist() for frame in frames] == bits.tolist()


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_floating_point_pixels(tmp_path: Path, keyword: str, dtype: str) -> None:
    values = ramp(dtype) / 7
    image = dataset(values)
    del image.PixelData, image.BitsStored, image.HighBit, image.PixelRepresentation
    setattr(image, keyword, values.tobytes())
    assert np.array_equal(_values(tmp_path, image), values.astype(np.float32))


def test_rgb_becomes_luminance(tmp_path: Path) -> None:
    stored = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [90, 90, 90]]], dtype="u1")
    values = _values(tmp_path, dataset(stored))
    assert np.allclose(values, [[76.245, 149.685], [29.07, 90.0]], atol=1e-3)


def test_colour_by_plane_is_the_same_image(tmp_path: Path) -> None:
    stored = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype("u1")
    by_pixel = _values(tmp_path, dataset(stored))
    planes = dataset(stored, PlanarConfiguration=1)
    planes.PixelData = stored.transpose(2, 0, 1).tobytes()
    assert np.array_equal(_values(tmp_path, planes), by_pixel)


def test_ybr_full_is_its_luminance_channel(tmp_path: Path) -> None:
    stored = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype("u1")
    image = dataset(stored, PhotometricInterpretation="YBR_FULL")
    assert np.array_equal(_values(tmp_path, image), stored[..., 0].astype(np.float32))


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "RGB"])
def test_colour_jpeg_becomes_luminance_whatever_its_header_calls_it(tmp_path: Path, photometric: str) -> None:
    """The file is YCbCr, as its JFIF segment says; writers that call it RGB are common."""
    rows, columns = np.mgrid[0:32, 0:48]
    colours = np.stack([rows * 8, columns * 5, 255 - rows * 4], axis=-1).astype("u1")
    target = io.BytesIO()
    Image.fromarray(colours).save(target, "JPEG", quality=95)
    image = dataset(colours, PhotometricInterpretation=photometric)
    image.PixelData = encapsulate([target.getvalue()])
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    values = _values(tmp_path, image, JPEGBaseline8Bit)
    assert np.abs(values - colours @ np.array([0.299, 0.587, 0.114])).max() < 4


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_lossless_colour_is_the_uncompressed_image(tmp_path: Path, syntax: Any) -> None:
    stored = np.random.default_rng(4).integers(0, 256, (64, 64, 3)).astype("u1")
    plain = write(dataset(stored), tmp_path / "plain.dcm")
    image = dcmread(plain)
    image.compress(syntax, generate_instance_uid=False)
    image.save_as(tmp_path / "compressed.dcm")
    (one,), (two,) = frames_of(plain), frames_of(tmp_path / "compressed.dcm")
    assert np.array_equal(one.values, two.values)


def test_palette_colour_becomes_luminance(tmp_path: Path) -> None:
    image = dataset(np.array([[0, 1], [2, 1]], dtype="u1"), PhotometricInterpretation="PALETTE COLOR")
    for colour, table in (("Red", [10, 200, 30]), ("Green", [10, 100, 30]), ("Blue", [10, 50, 30])):
        image.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [3, 0, 16])
        image.add_new(f"{colour}PaletteColorLookupTableData", "OW", np.array(table, dtype="<u2").tobytes())
    middle = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert np.allclose(_values(tmp_path, image), [[10, middle], [30, middle]], atol=1e-3)


def test_a_palette_image_without_palette_is_refused(tmp_path: Path) -> None:
    path = write(dataset(ramp("u1"), PhotometricInterpretation="PALETTE COLOR"), tmp_path / "image.dcm")
    with pytest.raises(PixelError, match="Palette"):
        frames_of(path)


def _transformation(slope: float, intercept: float) -> Dataset:
    macro, group = Dataset(), Dataset()
    macro.RescaleSlope, macro.RescaleIntercept, macro.RescaleType = slope, intercept, "HU"
    group.PixelValueTransformationSequence = [macro]
    return group


def test_enhanced_ct_rescales_each_frame_by_its_own_functional_group(tmp_path: Path) -> None:
    stored = np.stack([ramp(), ramp(), ramp()])
    image = dataset(stored, frames=3)
    image.SharedFunctionalGroupsSequence = [_transformation(9, 9)]
    image.PerFrameFunctionalGroupsSequence = [_transformation(1, -1000), Dataset(), _transformation(2, -500)]
    path = write(image, tmp_path / "enhanced.dcm")
    first, second, third = (frame.values for frame in frames_of(path))
    assert np.array_equal(first, ramp("f4") - 1000)
    assert np.array_equal(second, ramp("f4") * 9 + 9)
    assert np.array_equal(third, ramp("f4") * 2 - 500)
    assert inspect(path, LIMITS).units == "HU"


def test_frames_are_numbered_from_one(tmp_path: Path) -> None:
    path = write(dataset(np.stack([ramp()] * 3), frames=3), tmp_path / "image.dcm")
    assert [frame.frame_number for frame in frames_of(path)] == [1, 2, 3]
