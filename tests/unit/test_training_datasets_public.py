"""Public sets as they are downloaded: Chen's and Prezja's knees, LIDC-IDRI, M3Dsynth; and the shared real data."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from tests.support import need_data
from tests.unit.datasets_support import hounsfield, pattern, write_csv, write_raster, write_slice
from training.datasets import DatasetError, build, load
from training.datasets.hounsfield import lung_fraction
from training.datasets.indexed import find_chest, find_ct
from training.datasets.knees import find as find_knees
from training.datasets.lidc import find as find_lidc
from training.datasets.m3dsynth import find as find_m3dsynth
from training.datasets.m3dsynth import offset_of

CHEN = Path("KneeXrayData/ClsKLData")
SERIES = Path("LIDC-IDRI-0003/01-01-2000-NA-NA-94866/3000611.000000-NA-03264")


def knees(root: Path) -> Path:
    names = {"train/0": ("9003175R", "9003175L"), "val/3": ("9003380R",), "test/4": ("9000798L",)}
    for place, stems in (names | {"auto_test/4": ("9000798L",)}).items():
        for stem in stems:
            seed = crc32(f"{place}{stem}".encode())
            write_raster(pattern(seed, 224), root / CHEN / "kneeKL224" / place / f"{stem}.png")
            write_raster(pattern(seed, 299), root / CHEN / "kneeKL299" / place / f"{stem}.png")
    write_raster(pattern(1, 210), root / "KL01_160K" / "img_1.png")
    write_raster(pattern(2, 210), root / "KL234_160K" / "img_1.jpg", quality=90)
    return root


def test_both_knees_of_a_patient_are_one_group_and_one_size_is_used(tmp_path: Path) -> None:
    found = find_knees(knees(tmp_path))
    real = [each for each in found.records if each.label == "real"]
    assert sorted(each.patient for each in real) == ["9000798", "9000798", "9003175", "9003175", "9003380"]
    assert all("kneeKL224" in each.path.parts for each in real)
    assert [(each.path.name, each.images) for each in found.left_out] == [("kneeKL299", 5)]
    fakes = [each for each in found.records if each.label == "fake"]
    assert {each.generator for each in fakes} == {"stylegan-prezja"}
    assert len({each.patient for each in fakes}) == 2, "synthetic knees of two folders with one name are two"


def test_real_and_synthetic_knees_go_one_way(tmp_path: Path) -> None:
    for record in find_knees(knees(tmp_path)).records:
        sample = load(record)
        assert sample.image.shape == (192, 192)
        assert sample.image.dtype == np.float32
        assert (sample.image.min(), sample.image.max()) == (0, 255)
        assert np.array_equal(sample.image, np.rint(sample.image))
        assert sample.lossy == record.path.name.endswith("jpg")
        assert sample.stored["rows"] == (210 if sample.label == "fake" else 224), "what the file shows"


def test_the_larger_knees_serve_where_the_smaller_are_absent(tmp_path: Path) -> None:
    write_raster(pattern(5, 299), tmp_path / CHEN / "kneeKL299" / "train" / "0" / "9003175R.png")
    found = find_knees(tmp_path)
    assert [each.patient for each in found.records] == ["9003175"]
    assert any("no synthetic knees" in note for note in found.notes)


def test_a_knee_whose_name_has_no_patient_is_left_out_and_counted(tmp_path: Path) -> None:
    root = knees(tmp_path)
    write_raster(pattern(9, 224), root / CHEN / "kneeKL224" / "train" / "0" / "copy.png")
    assert [each.path.name for each in find_knees(root).left_out] == ["copy.png", "kneeKL299"]


@pytest.mark.parametrize(
    "place",
    [
        Path("manifest-1600709154662/LIDC-IDRI") / SERIES,
        Path("TCIA_LIDC-IDRI_20200921/LIDC-IDRI") / SERIES,
        Path("LIDC-IDRI/LIDC-IDRI-0003/01-01-2000-94866/3000611-03264"),
    ],
    ids=["nbia", "tcia", "short"],
)
def test_lidc_slices_are_grouped_by_series_and_padding_is_air(tmp_path: Path, place: Path) -> None:
    image = hounsfield(3)
    image[:5] = -2000
    image[60:] = -3024
    for number in range(3):
        name = f"1-{3 - number:03d}.dcm"
        write_slice(image + number, tmp_path / place / name, z=number * 2.5, patient="LIDC-IDRI-0003", series="1.2.7")
    (tmp_path / place / "069.xml").write_text("<LidcReadMessage/>")
    chest = tmp_path / place.parent / "3000612.000000-NA-1"
    write_slice(hounsfield(4), chest / "1-1.dcm", Modality="DX", series="1.2.8")
    found = find_lidc(tmp_path)
    assert {(each.patient, each.series) for each in found.records} == {("LIDC-IDRI-0003", "1.2.7")}
    assert [each.path.name for each in sorted(found.records, key=lambda each: each.position)] == [
        "1-003.dcm",
        "1-002.dcm",
        "1-001.dcm",
    ]
    assert [each.reason for each in found.left_out] == ["not CT: modality DX"]
    sample = load(next(each for each in found.records if each.position == 0))
    assert np.array_equal(sample.image[5:60], image[5:60])
    assert (sample.image[:5] == -1000).all()
    assert (sample.image[60:] == -1000).all()
    assert sample.stored["min"] == -3024, "what the file shows"
    assert sample.spacing_mm == (0.7, 0.7)


def test_how_much_of_a_slice_is_lung_is_measured_where_no_index_says_it() -> None:
    records = [each for each in find_ct(need_data("ct")).records if each.axial]
    samples = [load(each) for each in records if not 0.1 <= each.lung_fraction <= 0.25][::2]
    measured = [lung_fraction(each.image) for each in samples]
    lung = [found for found, each in zip(measured, samples, strict=True) if each.lung_fraction > 0.25]
    other = [found for found, each in zip(measured, samples, strict=True) if each.lung_fraction < 0.1]
    assert len(lung) >= 15
    assert min(lung) > 0.1
    assert max(other) < 0.1


def test_a_folder_without_ct_is_refused(tmp_path: Path) -> None:
    write_slice(hounsfield(4), tmp_path / "1.dcm", Modality="CR")
    with pytest.raises(DatasetError, match="no CT slice; expected LIDC-IDRI/LIDC-IDRI-NNNN"):
        find_lidc(tmp_path)


def m3d_scan(folder: Path, *, offset: int, seed: int, slices: int = 5) -> None:
    folder.mkdir(parents=True)
    for number in range(slices):
        image = np.full((96, 96), -1000.0, np.float32)
        image[8:88, 8:88] = pattern(seed + number, 80) / 2 - 60
        image[32:50, 30:66] = -850
        stored = np.rint(image + offset)
        stored[:4] = 0
        Image.fromarray(stored.astype(np.uint16)).save(folder / f"slide{number:04d}.tiff", compression="lzma")


def m3d_label(folder: Path, marked: set[int], slices: int = 5) -> None:
    folder.mkdir(parents=True)
    for number in range(slices):
        mask = np.zeros((96, 96), bool)
        mask[40:56, 44:60] = number in marked
        Image.fromarray(mask).save(folder / f"slide{number:04d}.tiff", compression="lzma")


def m3dsynth(root: Path, offset: int = 1024) -> Path:
    """One real scan with two rows, a fake of each generator of one patient, and one whose scan isn't downloaded."""
    rows = [
        ("inj_1", "inj", "real", "LIDC-IDRI-0003", 30, 2, 48, 50),
        ("rem_9", "rem", "real", "LIDC-IDRI-0003", 30, 3, 48, 50),
        ("inj_1", "inj", "pix2pix", "LIDC-IDRI-0003", 30, 2, 48, 50),
        ("rem_9", "rem", "cycle", "LIDC-IDRI-0014", 31, 3, 48, 50),
        ("rem_9", "rem", "diffusion", "LIDC-IDRI-0003", 30, 3, 48, 50),
        ("inj_7", "inj", "diffusion", "LIDC-IDRI-0777", 32, 3, 48, 50),
    ]
    write_csv(root / "data" / "data.csv", "img_id,ty,mod,orig_id,sdir_id,coord_z,coord_y,coord_x", rows)
    sets = [("LIDC-IDRI-0003", "test"), ("LIDC-IDRI-0014", "valid"), ("LIDC-IDRI-0777", "train")]
    write_csv(root / "data" / "sets.csv", "orig_id,set", sets)
    m3d_scan(root / "real" / "scan" / "inj_1", offset=offset, seed=1)
    (root / "real" / "scan" / "rem_9").symlink_to(root / "real" / "scan" / "inj_1")
    for number, (generator, image) in enumerate([("pix2pix", "inj_1"), ("cycle", "rem_9"), ("diffusion", "rem_9")]):
        m3d_scan(root / generator / "scan" / image, offset=offset, seed=100 * (number + 1))
        m3d_label(root / generator / "label" / image, {1, 2})
    return root


def test_m3dsynth_real_scans_are_read_once_and_only_marked_slices_are_fake(tmp_path: Path) -> None:
    found = find_m3dsynth(m3dsynth(tmp_path))
    real = [each for each in found.records if each.label == "real"]
    assert [each.path.name for each in sorted(real, key=lambda each: -each.position)] == [
        f"slide{number:04d}.tiff" for number in range(5)
    ], "the files run from the head down, places upwards"
    fakes = sorted((each.generator, each.path.name) for each in found.records if each.label == "fake")
    assert fakes == [
        (f"m3dsynth-{generator}", f"slide000{number}.tiff")
        for generator in ("cycle", "diffusion", "pix2pix")
        for number in (1, 2)
    ]
    assert sum(each.images for each in found.left_out) == 9
    assert {each.patient: each.part for each in found.records} == {
        "LIDC-IDRI-0003": "test",
        "LIDC-IDRI-0014": "validation",
    }
    assert len(found.notes) == 2
    assert "1 scans of the table aren't there" in found.notes[1]


@pytest.mark.parametrize("offset", [1024, 2000, 2048, 3024])
def test_m3dsynth_values_become_hounsfield_units_whatever_was_added(tmp_path: Path, offset: int) -> None:
    records = find_m3dsynth(m3dsynth(tmp_path, offset)).records
    sample = load(next(each for each in records if each.generator == "m3dsynth-pix2pix"))
    assert np.array_equal(sample.image[60:88, 8:88], np.rint(pattern(101, 80)[52:] / 2 - 60))
    assert sample.image[6, 50] == -1000
    assert sample.image.min() >= -1100, "padding is air"
    assert sample.mask is not None
    assert sample.mask.sum() == 256
    assert sample.part == "test"


def test_the_offset_of_real_slices_is_found() -> None:
    folder = need_data("ct")
    records = [each for each in find_ct(folder).records if each.axial and each.lung_fraction > 0.15]
    slices = [load(each).image for each in records[::8]]
    assert len(slices) >= 12
    for offset in (1024, 2000, 2048, 3024):
        stored = [np.clip(each, -offset, None) + offset for each in slices]
        found = [offset_of(stored[start : start + 5]) for start in range(0, len(stored), 5)]
        assert set(found) == {offset}


def test_m3dsynth_without_its_tables_is_refused_with_the_remedy(tmp_path: Path) -> None:
    m3d_scan(tmp_path / "cycle" / "scan" / "rem_9", offset=1024, seed=1)
    with pytest.raises(DatasetError, match=r"no data/data\.csv.*copy data/"):
        find_m3dsynth(tmp_path)


def test_m3dsynth_keeps_the_split_of_its_makers(tmp_path: Path) -> None:
    manifest = build("m3dsynth", m3dsynth(tmp_path))
    assert {each.patient: each.split for each in manifest.records} == {
        "LIDC-IDRI-0003": "test",
        "LIDC-IDRI-0014": "validation",
    }


def test_chest_radiographs_of_one_patient_are_one_group() -> None:
    records = find_chest(need_data("xray_chest")).records
    assert len(records) == 739
    assert len({each.patient for each in records}) == 615
    assert {each.source for each in records} == {"nih-chestxray14", "hannover-covid19"}
    sample = load(records[0])
    assert sample.lossy
    assert sample.stored["codec"] == "JPEG"
    assert max(sample.image.shape) == 512
