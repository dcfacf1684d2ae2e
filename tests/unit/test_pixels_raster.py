"""PNG and JPEG files as grey frames in the file's own range."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import DecoderProcess, PixelLimits, load_raster


def test_grey_png_of_eight_and_sixteen_bits(tmp_path: Path) -> None:
    for dtype, bits in (("u1", 8), ("<u2", 16)):
        stored = (np.arange(12).reshape(3, 4) * (20 if bits == 8 else 5000)).astype(dtype)
        Image.fromarray(stored).save(tmp_path / "image.png")
        info, frame = load_raster(tmp_path / "image.png")
        assert (info.rows, info.columns, info.bits_stored, info.lossy, info.number_of_frames) == (3, 4, bits, False, 1)
        assert frame.values.dtype == np.float32
        assert np.array_equal(frame.values, stored.astype(np.float32))


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[255, 0, 0], [9, 9, 9]]], dtype="u1")).save(tmp_path / "image.png")
    info, frame = load_raster(tmp_path / "image.png")
    assert info.photometric_interpretation == "RGB"
    assert np.allclose(frame.values, [[76.245, 9]], atol=1e-3)


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA"])
def test_other_modes_become_grey(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 2)).save(tmp_path / "image.png")
    assert load_raster(tmp_path / "image.png")[1].values.tolist() == [[0] * 5] * 2


def test_jpeg_is_lossy(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 100).save(tmp_path / "image.jpg")
    info, frame = load_raster(tmp_path / "image.jpg")
    assert info.lossy
    assert np.all(np.abs(frame.values - 100) <= 1)


def test_same_pixels_same_digest(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(12, dtype="u1").reshape(3, 4))
    image.save(tmp_path / "one.png", compress_level=0)
    image.save(tmp_path / "two.png", compress_level=9)
    assert load_raster(tmp_path / "one.png")[1].sha256 == load_raster(tmp_path / "two.png")[1].sha256


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(PixelError, match="neither a PNG nor a JPEG"):
        load_raster(tmp_path / "text.png")
    with pytest.raises(PixelError, match="can't be read"):
        load_raster(tmp_path / "absent.png")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64)).astype("u1")).save(tmp_path / "image.png")
    whole = (tmp_path / "image.png").read_bytes()
    (tmp_path / "image.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PixelError, match="can't be read"):
        load_raster(tmp_path / "image.png")


def test_more_pixels_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "image.png")
    for limit in (399, 150):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(PixelError, match="image too large"):
            load_raster(tmp_path / "image.png")


LIMITS = PixelLimits(
    max_pixels_per_frame=10_000, max_frames=1, max_decoded_bytes=10**6, max_memory_bytes=2**31, timeout_s=30
)


def test_the_decoder_process_takes_png_and_jpeg_by_content(tmp_path: Path) -> None:
    stored = (np.arange(48).reshape(4, 4, 3) * 5).astype("u1")
    Image.fromarray(stored).save(tmp_path / "image.dcm", format="PNG")
    expected_info, expected = load_raster(tmp_path / "image.dcm")
    with DecoderProcess(LIMITS) as decoder:
        info, frames = decoder.open(tmp_path / "image.dcm")
        (frame,) = frames
        assert info == expected_info
        assert frame.sha256 == expected.sha256
        assert np.array_equal(frame.values, expected.values)
        samples, lossy = decoder.samples(tmp_path / "image.dcm")
        assert np.array_equal(samples, stored)
        assert not lossy


@pytest.mark.parametrize(("dtype", "suffix"), [("u1", "jpg"), ("<u2", "png")])
def test_samples_keep_their_type_and_say_what_was_lost(tmp_path: Path, dtype: str, suffix: str) -> None:
    Image.fromarray(np.full((8, 8), 77, dtype)).save(tmp_path / f"image.{suffix}")
    with DecoderProcess(LIMITS) as decoder:
        samples, lossy = decoder.samples(tmp_path / f"image.{suffix}")
    assert samples.dtype == np.dtype(dtype)
    assert lossy == (suffix == "jpg")


def test_a_raster_that_is_too_large_or_damaged_is_its_own_reason(tmp_path: Path) -> None:
    Image.new("L", (101, 100)).save(tmp_path / "large.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "large.png").read_bytes()[:40])
    Image.new("L", (10, 10)).save(tmp_path / "good.png")
    with DecoderProcess(LIMITS) as decoder:
        with pytest.raises(PixelError, match="10100 pixels, at most 10000"):
            decoder.open(tmp_path / "large.png")
        with pytest.raises(PixelError, match=r"10100 pixels|can't be read|neither"):
            decoder.open(tmp_path / "damaged.png")
        assert len(list(decoder.open(tmp_path / "good.png")[1])) == 1
