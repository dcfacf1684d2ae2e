"""``datasets describe`` and ``datasets manifest``, as they are called."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import REPOSITORY
from tests.unit.datasets_support import hounsfield, pattern, write_raster, write_slice
from training.commands import datasets
from training.datasets import CATALOGUE, Record
from training.datasets.overlap import overlaps


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    datasets.add(parser.add_subparsers(required=True))
    options = parser.parse_args(["datasets", *map(str, arguments)])
    return int(options.run(options))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for patient in range(10):
        write_raster(pattern(patient), tmp_path / "real" / f"p{patient}" / "1.png")
        write_raster(pattern(100 + patient), tmp_path / "fake" / f"p{patient}" / "1.jpg")
    (tmp_path / "real" / "p1" / "torn.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_both_tables_are_printed_with_what_was_left_out(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("describe", "--reader", "folder", "--root", site) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "folder real 10 10 - 64x64 8 PNG 0" in printed
    assert "folder fake (unknown) 10 10 - 64x64 8 JPEG 10" in printed
    assert "train 6 6 6 12" in printed
    assert "validation 2 2 2 4" in printed
    assert "test 2 2 2 4" in printed
    assert "left out: 1 images: can't be read" in printed
    assert "torn.png" in printed


def test_the_tables_are_there_for_a_program_too(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("describe", "--reader", "folder", "--root", site, "--json") == 0
    tables = json.loads(capsys.readouterr().out)
    assert {row["label"]: row["images"] for row in tables["table_1"]} == {"real": 10, "fake": 10}
    assert [(row["part"], row["real"], row["fake"]) for row in tables["table_2"]] == [
        ("train", 6, 6),
        ("validation", 2, 2),
        ("test", 2, 2),
    ]
    assert tables["left_out"] == {"can't be read": 1}


def test_a_manifest_is_written_and_described(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "manifest.csv"
    assert call("manifest", "--reader", "folder", "--root", site, "--output", file) == 0
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 20
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert all(len(row["sha256"]) == 64 and not Path(row["path"]).is_absolute() for row in rows)
    assert "torn.png" in (tmp_path / "manifest.left-out.csv").read_text()
    capsys.readouterr()
    assert call("describe", "--reader", "folder", "--root", site, "--manifest", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["table_1"][0]["images"] == 10


def test_a_wrong_folder_is_answered_with_what_was_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("describe", "--reader", "lidc-idri", "--root", tmp_path) == 2
    assert "expected LIDC-IDRI" in capsys.readouterr().err
    assert call("describe", "--reader", "folder", "--root", tmp_path / "absent") == 2
    assert "no folder" in capsys.readouterr().err


def test_patients_who_are_in_two_data_sets_under_two_names_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        slices = tmp_path / "lidc" / f"LIDC-IDRI-{number:04d}"
        write_slice(hounsfield(number), slices / "1.dcm", patient=slices.name, series=f"1.2.{number}")
        names = {"patient": f"renamed-{number}", "series": f"1.3.{number}"}
        if number < 5:
            write_slice(hounsfield(number), tmp_path / "other" / f"{number}" / "1.dcm", **names)
    for name in ("lidc", "other"):
        file = tmp_path / f"{name}.csv"
        assert call("manifest", "--reader", "lidc-idri", "--root", tmp_path / name, "--output", file) == 0
    capsys.readouterr()
    leaks = call("overlap", tmp_path / "lidc.csv", tmp_path / "other.csv")
    printed = capsys.readouterr().out
    for number in range(5):
        assert f"LIDC-IDRI-000{number} (" in printed
        assert f"is renamed-{number} (" in printed
    assert "5 patients in both" in printed
    assert (leaks == 0) == ("in both, 0 of them" in printed)
    assert call("overlap", tmp_path / "lidc.csv", tmp_path / "lidc.csv") == 0
    assert "10 patients in both, 0 of them trained on" in capsys.readouterr().out


def test_patients_are_found_by_images_in_another_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        values = pattern(number)
        write_raster(values, tmp_path / "first" / "real" / f"p{number}" / "1.png")
        if number < 3:
            smaller = Image.fromarray(values.astype(np.uint8)).resize((150, 150))
            write_raster(np.asarray(smaller, np.float32), tmp_path / "second" / "real" / f"q{number}" / "1.png")
        write_raster(pattern(50 + number), tmp_path / "second" / "real" / f"r{number}" / "1.png")
    for name in ("first", "second"):
        file = tmp_path / f"{name}.csv"
        assert call("manifest", "--reader", "folder", "--root", tmp_path / name, "--output", file) == 0
    manifests = (tmp_path / "first.csv", tmp_path / "second.csv")
    capsys.readouterr()
    roots = ("--first-root", tmp_path / "first", "--second-root", tmp_path / "second")
    for more in ((), roots):
        call("overlap", *manifests, *more)
        assert "3 patients in both" in capsys.readouterr().out
    assert call("overlap", *manifests, *roots[:3], tmp_path / "nowhere") == 2


@pytest.mark.parametrize(("splits", "leaks"), [(("train", "test"), True), (("test", "test"), False)])
def test_whom_one_set_trains_on_the_other_must_not_test_on(splits: tuple[str, str], leaks: bool) -> None:
    records = [
        Record(
            reader="lidc-idri", path=Path("1"), name="1", source="s", patient="p", group="p", sha256="a", split=split
        )
        for split in splits
    ]
    assert [each.leaks for each in overlaps(records[:1], records[1:])] == [leaks]


def test_every_reader_is_documented() -> None:
    text = (REPOSITORY / "deploy" / "docs" / "datasets.md").read_text()
    assert [name for name in CATALOGUE if f"`{name}`" not in text] == []
