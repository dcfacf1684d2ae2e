"""Third parties' files: each gives frames or a named reason; transcoding by DCMTK changes no digest."""

import csv
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut

from medfake_pacs.entities import DecodedFrame
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import DecoderProcess, pixel_digest
from medfake_pacs.pixels.syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from tests.support import need_data, need_tool
from tests.unit.pixels_support import LIMITS

# What can't be decoded, and why; everything else in the folder that has pixel data must give all its frames.
REFUSED = {
    "dcm4che/3gb-bulk-data-truncated": "BitsStored is 16, it must be 1 to 8",
    "dcm4che/will-jxl.dcm": "unsupported transfer syntax 1.2.840.10008.1.2.4.111",
    "fo-dicom/GH1146.dcm": "truncated pixel data: 0 of 524288 bytes",
    # A big endian file with a sequence of undefined length inside an unknown VR: DCMTK reads it, pydicom can't.
    "fo-dicom/GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": "the header can't be read",
    "fo-dicom/GH340.dcm": "Bits Allocated 12 is not supported",
    "fo-dicom/genFile.dcm": "the codestream is not JPEG: no SOI marker",
    "fo-dicom/multiframe.dcm": "the codestream of frame 14 is 55 x 240 pixels, the header says 240 x 240",
    "pydicom-data/liver_nonbyte_aligned_rle.dcm": "RLE Lossless with Bits Allocated 1 is not supported",
    "pydicom-data/liver_rle.dcm": "RLE Lossless with Bits Allocated 1 is not supported",
    "pydicom/JPEG2000-embedded-sequence-delimiter.dcm": "the codestream has more than 65535 tiles",
    "pydicom/MR_truncated.dcm": "truncated pixel data: 8130 of 8192 bytes",
    # Number of Frames is "1A": DCMTK reads 1, pydicom refuses the value.
    "pydicom/badVR.dcm": "NumberOfFrames can't be read",
    "pydicom/meta_missing_tsyntax.dcm": "BitsAllocated is missing",
    "pydicom/nested_priv_SQ.dcm": "BitsAllocated is missing",
    "pydicom/no_meta.dcm": "not a DICOM file",
}
NO_IMAGE = "no pixel data"


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one file; ``said`` is the reason why there are no frames, or empty."""

    name: str
    with_pixels: bool
    said: str = ""
    frames: int = 0
    transfer_syntax_uid: str = ""
    seconds: float = 0.0
    peak_kib: int = 0

    def __str__(self) -> str:
        return f"{self.seconds:6.2f} s {self.name:90} {self.said or f'{self.frames} frames'}"


def _outcome(decoder: DecoderProcess, path: Path, name: str, with_pixels: bool) -> Outcome:
    """Take all frames of a file; any exception but PixelError fails the test."""
    started, outcome = time.monotonic(), Outcome(name=name, with_pixels=with_pixels)
    try:
        info, frames = decoder.open(path)
        outcome = replace(outcome, transfer_syntax_uid=info.transfer_syntax_uid)
        for frame in frames:
            assert frame.values.shape == (info.rows, info.columns), name
            assert frame.values.dtype == np.float32, name
            assert np.isfinite(frame.values).all(), name
            outcome = replace(outcome, frames=outcome.frames + 1)
        assert outcome.frames == info.number_of_frames, name
    except PixelError as error:
        outcome = replace(outcome, said=str(error))
    peak_kib = _peak_kib(decoder.pid) if decoder.pid is not None else 0
    return replace(outcome, seconds=time.monotonic() - started, peak_kib=peak_kib)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    folder = need_data("dicom_conformance")
    with (folder / "index.csv").open(newline="") as index, DecoderProcess(LIMITS) as decoder:
        return [
            _outcome(decoder, folder / row["file"], row["file"], row["haspix"] == "1") for row in csv.DictReader(index)
        ]


def test_every_file_gives_frames_or_a_named_reason(outcomes: list[Outcome]) -> None:
    print(*outcomes, sep="\n")
    assert len(outcomes) > 300
    refused = {outcome.name: outcome.said for outcome in outcomes if outcome.said and outcome.said != NO_IMAGE}
    assert refused.keys() == REFUSED.keys()
    for name, said in refused.items():
        assert REFUSED[name] in said


def test_no_file_takes_long_or_much_memory(outcomes: list[Outcome]) -> None:
    assert max(outcome.seconds for outcome in outcomes) < 30
    assert 0 < max(outcome.peak_kib for outcome in outcomes) < 2 << 20


def test_no_image_is_said_of_objects_without_pixels_alone(outcomes: list[Outcome]) -> None:
    assert [outcome.name for outcome in outcomes if outcome.with_pixels and outcome.said == NO_IMAGE] == []


def test_the_folder_holds_every_supported_transfer_syntax_but_one(outcomes: list[Outcome]) -> None:
    seen = {outcome.transfer_syntax_uid for outcome in outcomes if outcome.frames}
    assert set(SUPPORTED_TRANSFER_SYNTAXES) - seen == {"1.2.840.10008.1.2.4.202"}


@pytest.mark.filterwarnings("ignore")
def test_monochrome_values_are_those_that_pydicom_gives(outcomes: list[Outcome]) -> None:
    """pydicom picks another plugin than ours for several transfer syntaxes, so this compares decoders, too."""
    folder, compared = need_data("dicom_conformance"), 0
    with DecoderProcess(LIMITS) as decoder:
        for outcome in outcomes:
            expected = _pydicom_values(folder / outcome.name) if 0 < outcome.frames <= 20 and not outcome.said else None
            if expected is None:
                continue
            frames = list(decoder.open(folder / outcome.name)[1])
            assert np.allclose(np.stack([frame.values for frame in frames]), expected, rtol=1e-6, atol=1e-3), (
                outcome.name
            )
            compared += 1
    assert compared > 80


def _pydicom_values(path: Path) -> np.ndarray | None:
    """Return (N, H, W) float32 as pydicom reads it; None for colour, padding and what pydicom can't decode."""
    image = dcmread(path, force=True)
    if image.get("PhotometricInterpretation") != "MONOCHROME2" or "PixelPaddingValue" in image:
        return None
    if "BitsStored" not in image or image.get("HighBit", image.BitsStored - 1) != image.BitsStored - 1:
        return None
    if "PerFrameFunctionalGroupsSequence" in image:
        return None
    try:
        stored = image.pixel_array
    except (RuntimeError, ValueError, AttributeError, NotImplementedError):
        return None
    values = np.asarray(apply_modality_lut(stored, image), dtype=np.float64).astype(np.float32)
    return values.reshape(-1, image.Rows, image.Columns)


def test_the_one_transfer_syntax_that_the_folder_lacks(tmp_path: Path) -> None:
    """HTJ2K with RPCL progression: the same codec, tried on a codestream that another transfer syntax labels."""
    source = need_data("dicom_conformance") / "pydicom-data" / "HTJ2KLossless_08_RGB.dcm"
    path = tmp_path / "rpcl.dcm"
    path.write_bytes(source.read_bytes().replace(b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.4.202"))
    with DecoderProcess(LIMITS) as decoder:
        digest, _, syntax = _decoded(decoder, path)
        assert syntax == "1.2.840.10008.1.2.4.202"
        assert digest == _decoded(decoder, source)[0]


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def _decoded(decoder: DecoderProcess, path: Path) -> tuple[str, list[DecodedFrame], str]:
    info, frames = decoder.open(path)
    taken = list(frames)
    return pixel_digest((frame.sha256 for frame in taken), info), taken, info.transfer_syntax_uid


TRANSCODERS = {
    "1.2.840.10008.1.2": ("dcmconv", "+ti"),
    "1.2.840.10008.1.2.2": ("dcmconv", "+tb"),
    "1.2.840.10008.1.2.1.99": ("dcmconv", "+td"),
    "1.2.840.10008.1.2.4.57": ("dcmcjpeg", "+el"),
    "1.2.840.10008.1.2.4.70": ("dcmcjpeg", "+e1"),
    "1.2.840.10008.1.2.4.80": ("dcmcjpls", "+el"),
    "1.2.840.10008.1.2.5": ("dcmcrle",),
}


@pytest.mark.parametrize("kind", ["unsigned", "signed"])
def test_dcmtk_transcoding_leaves_the_pixel_digest(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "source.dcm"
    _run(need_tool("/usr/bin/dcmconv"), "+te", _real_slice(signed=kind == "signed"), source)
    with DecoderProcess(LIMITS) as decoder:
        expected, frames, _ = _decoded(decoder, source)
        for uid, (tool, *options) in TRANSCODERS.items():
            path = tmp_path / f"{uid}.dcm"
            _run(need_tool(f"/usr/bin/{tool}"), *options, source, path)
            digest, transcoded, syntax = _decoded(decoder, path)
            assert syntax == uid
            assert digest == expected, uid
            assert np.array_equal(transcoded[0].values, frames[0].values), uid


def _real_slice(*, signed: bool) -> Path:
    for path in sorted((need_data("ct") / "curated").rglob("*.dcm")) or sorted(need_data("ct").rglob("*.dcm")):
        if dcmread(path, specific_tags=["PixelRepresentation"], stop_before_pixels=True).PixelRepresentation == signed:
            return path
    raise AssertionError("no such CT slice in the data folder")


LOSSY = {
    "1.2.840.10008.1.2.4.50": ("dcmcjpeg", "+eb"),
    "1.2.840.10008.1.2.4.51": ("dcmcjpeg", "+ee"),
    "1.2.840.10008.1.2.4.53": ("dcmcjpeg", "+es"),
    "1.2.840.10008.1.2.4.55": ("dcmcjpeg", "+ep"),
}


@pytest.mark.parametrize("uid", LOSSY)
def test_lossy_jpeg_decodes_bit_for_bit_as_dcmtk_does(uid: str, tmp_path: Path) -> None:
    tool, *options = LOSSY[uid]
    lossy, plain = tmp_path / "lossy.dcm", tmp_path / "plain.dcm"
    _run(need_tool(f"/usr/bin/{tool}"), *options, _real_slice(signed=False), lossy)
    _run(need_tool("/usr/bin/dcmdjpeg"), lossy, plain)
    with DecoderProcess(LIMITS) as decoder:
        _, frames, syntax = _decoded(decoder, lossy)
        _, expected, _ = _decoded(decoder, plain)
    assert syntax == uid
    assert np.array_equal(frames[0].values, expected[0].values)
