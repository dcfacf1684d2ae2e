"""The CT-GAN set as it is downloaded: both layouts, both tables, and slice numbers that are understood or refused."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from tests.unit.datasets_support import hounsfield, write_csv, write_slice
from training.datasets import READERS, DatasetError, Record, load
from training.datasets.ctgan import find

SLICES = 80
SPACING_MM = 2.5
COLUMNS = "type,uuid,slice,x,y"
KAGGLE = ("", "CT_Scans/EXP1_blind", "CT_Scans/EXP2_open")
UCI = ("Tampered Scans", "Tampered Scans/Experiment 1 - Blind", "Tampered Scans/Experiment 2 - Open")


@cache
def slice_file(seed: int, at: int, patient: str) -> bytes:
    with TemporaryDirectory() as folder:
        image = hounsfield(seed * 1000 + at, 32)
        place = at * SPACING_MM - 100
        return write_slice(image, Path(folder) / "x", z=place, patient=patient, series=f"1.2.3.{seed}").read_bytes()


def scan(
    folder: Path,
    *,
    seed: int,
    slices: int = SLICES,
    name: Callable[[int, int], int] = lambda at, _slices: at,
    patient: str = "",
) -> Path:
    """A scan whose slice at place ``n`` (z ascending) is the file ``name(n, slices).dcm``."""
    folder.mkdir(parents=True)
    for at in range(slices):
        (folder / f"{name(at, slices)}.dcm").write_bytes(slice_file(seed, at, patient or f"P{seed}"))
    return folder


def download(root: Path, layout: Sequence[str] = KAGGLE, **options: Callable[[int, int], int]) -> Path:
    """Scan 1280 has a removed cancer and a real one, 2001 only real findings; 1280 is in both tables."""
    tables, blind, unblind = layout
    write_csv(
        root / tables / "labels_exp1.csv",
        COLUMNS,
        [("FB", 1280, 40, 10, 20), ("TM", 1280, 5, 3, 4), ("TB", 2001, 20, 8, 9), ("TM", 2001, 44, 9, 9)],
    )
    write_csv(root / tables / "labels_exp2.csv", COLUMNS, [("FM", 3005, 12, 5, 6)])
    scan(root / blind / "1280", seed=1, **options)
    scan(root / blind / "2001", seed=2, slices=50, **options)
    scan(root / unblind / "3005", seed=3, slices=50, **options)
    return root


def numbers(records: Sequence[Record], scan_name: str, label: str) -> list[int]:
    return sorted(int(each.position) for each in records if scan_name in each.path.parts and each.label == label)


@pytest.mark.parametrize("layout", [KAGGLE, UCI, [each.upper() for each in KAGGLE]], ids=["kaggle", "uci", "upper"])
def test_slices_are_real_fake_or_neither(tmp_path: Path, layout: Sequence[str]) -> None:
    found = find(download(tmp_path, layout))
    # 5 mm of the tampered slice are two slices to each side; 30 slices about it are neither.
    assert numbers(found.records, "1280", "fake") == [38, 39, 40, 41, 42]
    assert numbers(found.records, "1280", "real") == [*range(10), *range(71, 80)]
    assert numbers(found.records, "2001", "real") == list(range(50))
    assert numbers(found.records, "2001", "fake") == []
    assert numbers(found.records, "3005", "fake") == [10, 11, 12, 13, 14]
    assert {each.path.name: each.images for each in found.left_out} == {"1280": 56, "3005": 38}
    assert {each.generator for each in found.records if each.label == "fake"} == {"ct-gan"}
    assert len({each.patient for each in found.records}) == 3


def test_a_fake_slice_shows_where_it_was_tampered_with(tmp_path: Path) -> None:
    records = find(download(tmp_path)).records
    fake = load(next(each for each in records if each.path.name == "40.dcm" and each.label == "fake"))
    assert fake.mask is not None
    assert fake.mask.shape == fake.image.shape
    assert fake.mask[20, 10] == 1, "x is the column, y the row"
    assert fake.mask[31, 31] == 0
    assert np.array_equal(fake.image, hounsfield(1040, 32))
    assert load(next(each for each in records if each.label == "real")).mask is None


def test_names_that_count_from_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"slice 40 is 40\.dcm by file name and 41\.dcm by place.*--slice-index"):
        find(download(tmp_path, name=lambda at, _slices: at + 1))


def test_the_reading_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    root = download(tmp_path, name=lambda at, _slices: at + 1)
    by_name = find(root, slice_index="file-name").records
    by_place = find(root, slice_index="position").records
    assert {each.path.name for each in by_name if each.label == "fake" and "1280" in each.path.parts} == {
        f"{number}.dcm" for number in range(38, 43)
    }
    assert {each.path.name for each in by_place if each.label == "fake" and "1280" in each.path.parts} == {
        f"{number}.dcm" for number in range(39, 44)
    }


def test_names_that_run_against_the_places_are_refused_while_both_readings_are_possible(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="both readings are possible"):
        find(download(tmp_path, name=lambda at, slices: slices - 1 - at))


def test_one_row_that_only_one_reading_fits_decides_for_the_set(tmp_path: Path) -> None:
    root = download(tmp_path, name=lambda at, _slices: at + 1)
    write_csv(root / "labels_exp2.csv", COLUMNS, [("FM", 3005, 50, 5, 6)])
    found = find(root)
    assert numbers(found.records, "3005", "fake") == [47, 48, 49], "the file 50.dcm is the 50th, at place 49"
    assert numbers(found.records, "1280", "fake") == [37, 38, 39, 40, 41]
    assert any("counted by file-name" in note for note in found.notes)


def test_names_that_are_no_numbers_leave_the_places(tmp_path: Path) -> None:
    root = download(tmp_path)
    for path in list(root.rglob("*.dcm")):
        path.rename(path.with_name(f"IM-{path.name}"))
    assert numbers(find(root).records, "1280", "fake") == [38, 39, 40, 41, 42]


def test_a_scan_of_both_experiments_with_the_same_files_is_used_once_with_all_rows(tmp_path: Path) -> None:
    root = download(tmp_path)
    copytree(root / KAGGLE[1] / "1280", root / KAGGLE[2] / "1280")
    write_csv(root / "labels_exp2.csv", COLUMNS, [("FM", 3005, 12, 5, 6), ("FM", 1280, 1, 5, 6)])
    found = find(root)
    assert numbers(found.records, "1280", "fake") == [0, 1, 2, 3, 38, 39, 40, 41, 42]
    assert {each.path.parent.parent.name for each in found.records if "1280" in each.path.parts} == {"EXP1_blind"}
    assert any("used once" in note for note in found.notes)


def test_a_scan_number_of_both_experiments_with_other_files_is_one_patient(tmp_path: Path) -> None:
    root = download(tmp_path)
    scan(root / KAGGLE[2] / "1280", seed=9, patient="P1")
    write_csv(root / "labels_exp2.csv", COLUMNS, [("FM", 3005, 12, 5, 6), ("TM", 1280, 10, 5, 6)])
    mine = [each for each in find(root).records if "1280" in each.path.parts]
    assert len({each.patient for each in mine}) == 1
    assert len({each.series for each in mine}) == 2


def test_a_patient_id_that_all_scans_share_groups_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "labels_exp1.csv", COLUMNS, [("FB", 7, 1, 1, 1), ("TB", 8, 1, 1, 1)])
    for number in (7, 8):
        scan(tmp_path / KAGGLE[1] / str(number), seed=number, slices=3, patient="LUNG")
    assert {each.patient for each in find(tmp_path).records} == {"scan-7", "scan-8"}


def test_a_scan_with_a_damaged_slice_is_left_out_and_named(tmp_path: Path) -> None:
    root = download(tmp_path)
    damaged = root / KAGGLE[1] / "1280" / "7.dcm"
    damaged.write_bytes(b"not an image")
    found = find(root)
    assert not [each for each in found.records if "1280" in each.path.parts]
    assert damaged in {each.path for each in found.left_out}
    assert sum(each.images for each in found.left_out if "1280" in each.path.parts) == SLICES


def test_a_folder_of_something_else_is_refused_with_the_layout(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DatasetError, match=r"no labels_exp1\.csv.*EXP1_blind/<uuid>.*found holiday/"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"), [(("XX", 1, 2, 3, 4), "line 2: type 'XX'"), (("FB", 1, "two", 3, 4), "line 2: slice")]
)
def test_a_table_that_is_not_as_expected_is_refused_with_its_line(
    tmp_path: Path, row: Sequence[object], message: str
) -> None:
    write_csv(tmp_path / "labels_exp1.csv", COLUMNS, [row])
    with pytest.raises(DatasetError, match=message):
        find(tmp_path)


def test_all_images_are_read_into_memory_with_their_labels(tmp_path: Path) -> None:
    write_csv(tmp_path / "labels_exp1.csv", COLUMNS, [("FB", 7, 1, 1, 1), ("TB", 8, 1, 1, 1)])
    for number in (7, 8):
        scan(tmp_path / KAGGLE[1] / str(number), seed=number, slices=3)
    samples = READERS["ct-gan"](tmp_path)
    assert sorted((each.label, each.generator, each.patient) for each in samples) == [
        *[("fake", "ct-gan", "P7")] * 3,
        *[("real", "", "P8")] * 3,
    ]
