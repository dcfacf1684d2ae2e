"""The manifest: digests, duplicates, groups, the split, and nothing dropped without a word."""

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support import need_data
from tests.unit.datasets_support import Values, hounsfield, pattern, write_raster, write_slice
from training.datasets import READERS, DatasetError, Manifest, Record, build, load, read, write
from training.datasets.images import pixel_sha256
from training.datasets.indexed import find_chest, find_knee
from training.datasets.manifest import split
from training.datasets.near import MAXIMUM_BITS, fingerprint, near_pairs, perceptual_hash
from training.split import PARTS


def site(root: Path, patients: int = 10) -> Path:
    """Two real images and a fake of each patient, a folder each."""
    for patient in range(patients):
        for number in range(2):
            write_raster(pattern(100 * patient + number), root / "real" / f"p{patient}" / f"{number}.png")
        write_raster(pattern(100 * patient + 7), root / "fake" / f"p{patient}" / "7.png")
    return root


def group_of(manifest: Manifest, name: str) -> str:
    return next(each.group for each in manifest.records if each.name == name)


def jpeg(values: Values) -> Values:
    target = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(target, "JPEG", quality=60)
    return np.asarray(Image.open(target)).astype(np.float32)


def half(values: Values) -> Values:
    side = values.shape[0] // 2
    return np.asarray(Image.fromarray(values).resize((side, side), Image.Resampling.LANCZOS))


def trimmed(values: Values) -> Values:
    return np.ascontiguousarray(values[2:-2, 2:-2])


def test_no_group_of_patients_is_in_two_parts_and_the_shares_are_60_20_20(tmp_path: Path) -> None:
    manifest = build("folder", site(tmp_path, 20))
    groups = [{each.group for each in manifest.part(name)} for name in PARTS]
    assert [len(each) for each in groups] == [12, 4, 4]
    assert len(set.union(*groups)) == 20
    assert sum(len(manifest.part(name)) for name in PARTS) == 60


@settings(max_examples=50, deadline=None)
@given(
    images=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2), st.sampled_from(["", *PARTS])), max_size=40),
    seed=st.integers(0, 5),
)
def test_the_split_is_by_group_whatever_the_data_set_fixes(images: list[tuple[int, int, str]], seed: int) -> None:
    records = [
        Record(reader="folder", path=Path(f"{at}"), name=f"{at}", source=f"s{of}", patient=f"p{at}", group=f"g{group}")
        for at, (group, of, _) in enumerate(images)
    ]
    records = [replace(each, part=part) for each, (_, _, part) in zip(records, images, strict=True)]
    parts: dict[str, set[str]] = {}
    for record in split(records, seed=seed):
        parts.setdefault(record.group, set()).add(record.split)
    assert all(len(each) == 1 for each in parts.values())
    for record in records:
        fixed = {each.part for each in records if each.group == record.group} - {""}
        assert not fixed or parts[record.group] == {max(fixed, key=PARTS.index)}


def test_the_same_pixels_are_used_once_whatever_file_they_are_in(tmp_path: Path) -> None:
    root = site(tmp_path, 5)
    write_slice(pattern(0), root / "real" / "other" / "copy.dcm", patient="MRN-1")
    manifest = build("folder", root)
    assert [each.path.name for each in manifest.left_out] == ["0.png"]
    assert manifest.left_out[0].detail.endswith("copy.dcm")
    assert group_of(manifest, "real/other/copy.dcm") == group_of(manifest, "real/p0/1.png")


def test_a_real_and_a_fake_with_the_same_pixels_are_both_refused_and_named(tmp_path: Path) -> None:
    root = site(tmp_path, 3)
    shutil.copy(root / "fake" / "p0" / "7.png", root / "real" / "p1" / "wrong.png")
    manifest = build("folder", root)
    assert {each.name for each in manifest.records}.isdisjoint({"fake/p0/7.png", "real/p1/wrong.png"})
    assert {each.reason for each in manifest.left_out} == {"the same pixels as an image with the other label"}
    for each in manifest.left_out:
        assert "real/p1/wrong.png is real" in each.detail
        assert "fake/p0/7.png is fake" in each.detail
    assert group_of(manifest, "real/p0/0.png") == group_of(manifest, "real/p1/0.png")


@pytest.mark.parametrize("change", [jpeg, half, trimmed])
def test_patients_who_share_a_near_duplicate_are_one_group(tmp_path: Path, change: Callable[[Values], Values]) -> None:
    root = tmp_path
    for patient in range(20):
        write_raster(pattern(patient, 128), root / "real" / f"p{patient}" / "0.png")
        write_raster(pattern(100 + patient, 128), root / "real" / f"p{patient}" / "1.png")
    for patient in range(0, 20, 2):
        # The next patient has it too, in another guise.
        write_raster(change(pattern(patient, 128)), root / "real" / f"p{patient + 1}" / "copy.png")
    manifest = build("folder", root)
    for patient in range(0, 20, 2):
        assert group_of(manifest, f"real/p{patient}/1.png") == group_of(manifest, f"real/p{patient + 1}/1.png")
        mine = [each for each in manifest.records if each.patient in (f"folder-p{patient}", f"folder-p{patient + 1}")]
        assert len({each.split for each in mine}) == 1
    assert len({each.group for each in manifest.records}) == 10
    assert len(manifest.notes) == 11, "ten pairs, and that there is no fake"


def test_a_real_image_encoded_anew_is_left_out_but_neighbouring_slices_and_fakes_are_not(tmp_path: Path) -> None:
    picture = pattern(1, 128)
    write_raster(picture, tmp_path / "real" / "a" / "1.png")
    write_raster(picture, tmp_path / "real" / "a" / "2.jpg", quality=80)
    for number in range(2):
        write_raster(picture - number, tmp_path / "fake" / "a" / f"{number}.jpg", quality=70 + number)
        write_slice(hounsfield(5) + number, tmp_path / "real" / "b" / f"{number}.dcm", z=number)
    manifest = build("folder", tmp_path)
    assert [each.path.name for each in manifest.left_out] == ["2.jpg"]
    assert len(manifest.records) == 5


def test_real_patients_are_not_taken_for_one_another() -> None:
    for records in (find_knee(need_data("xray_knee")).records[::10], find_chest(need_data("xray_chest")).records[::10]):
        images = [load(each).image for each in records]
        hashes = [perceptual_hash(each) for each in images]
        groups = [each.patient for each in records]
        assert not list(near_pairs(hashes, groups, lambda number, images=images: fingerprint(images[number])))
        bits = [
            (int(perceptual_hash(jpeg(each)), 16) ^ int(hashes[at], 16)).bit_count() for at, each in enumerate(images)
        ]
        assert max(bits) <= MAXIMUM_BITS / 2
        assert min(float(fingerprint(jpeg(each)) @ fingerprint(each)) for each in images) > 0.95


def test_every_pair_of_many_is_compared() -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 256, (5000, 32), dtype=np.uint8)
    bits[:, 0] &= 0x7F
    bits[[4999, 2100, 2049]] = bits[[0, 2099, 1]]
    bits[4999, 31] ^= 0xFF
    hashes = [row.tobytes().hex() for row in bits]
    groups = [str(number) for number in range(5000)]
    groups[2049] = "1"
    pairs = near_pairs(hashes, groups, lambda _number: np.ones(1, np.float32))
    assert [(pair.first, pair.second, pair.bits) for pair in pairs] == [(0, 4999, 8), (2099, 2100, 0)]


def test_files_that_are_no_images_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    root = site(tmp_path, 3)
    folder = root / "real" / "p0"
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "words.dcm").write_text("no image at all")
    write_slice(hounsfield(1), folder / "cut.dcm")
    (folder / "cut.dcm").write_bytes((folder / "cut.dcm").read_bytes()[:-1000])
    (folder / "empty.dcm").touch()
    write_raster(np.zeros((64, 64), np.float32), folder / "black.png")
    write_raster(np.zeros((64, 64), np.float32), root / "real" / "p1" / "black.png")
    (folder / "gone.png").symlink_to(root / "nowhere.png")
    (folder / "notes.txt").write_text("scanned on a Tuesday")
    manifest = build("folder", root)
    assert len(manifest.records) == 9
    assert {each.path.name for each in manifest.left_out} == {
        "torn.png", "words.dcm", "cut.dcm", "empty.dcm", "gone.png", "black.png"
    }  # fmt: skip
    reasons = Counter(each.reason for each in manifest.left_out)
    assert reasons == {"can't be read": 5, "one value everywhere": 2}
    assert all(each.detail for each in manifest.left_out if each.reason == "can't be read")
    assert group_of(manifest, "real/p0/0.png") != group_of(manifest, "real/p1/0.png"), "a black image joins nobody"


def test_a_file_without_preamble_is_an_image_too(tmp_path: Path) -> None:
    path = write_slice(hounsfield(1), tmp_path / "real" / "a" / "1.dcm", patient="MRN-1")
    image = pydicom.dcmread(path)
    del image.file_meta, image.preamble
    pydicom.dcmwrite(path, image, implicit_vr=False, little_endian=True)
    assert not path.read_bytes().startswith(b"\0" * 128)
    write_slice(hounsfield(2), tmp_path / "real" / "b" / "2.dcm", patient="MRN-1")
    manifest = build("folder", tmp_path)
    assert len(manifest.records) == 2
    assert len({each.group for each in manifest.records}) == 1


def test_near_duplicates_of_an_indexed_folder_are_one_patient(tmp_path: Path) -> None:
    folder = tmp_path / "xray_knee"
    rows = ["split,source,group,file"]
    for number in range(4):
        write_raster(pattern(number, 224), folder / f"{number}.png")
        rows.append(f"curated,s,{number},xray_knee/{number}.png")
    write_raster(jpeg(trimmed(pattern(0, 224))), folder / "again.png")
    (folder / "index.csv").write_text("\n".join([*rows, "curated,s,again,xray_knee/again.png"]) + "\n")
    patients = {sample.name: sample.patient for sample in READERS["knee"](folder)}
    assert patients.get("xray_knee/again.png", patients["xray_knee/0.png"]) == patients["xray_knee/0.png"]
    assert len(set(patients.values())) == 4


def test_patients_who_all_share_images_are_reported(tmp_path: Path) -> None:
    root = site(tmp_path, 12)
    for patient in range(6):
        shutil.copy(root / "real" / "p0" / "0.png", root / "real" / f"p{patient}" / "shared.png")
    assert any("6 of 12 patients share images" in note for note in build("folder", root).notes)


def test_a_manifest_is_the_same_when_it_is_read_again_elsewhere(tmp_path: Path) -> None:
    root = site(tmp_path / "here", 4)
    write_slice(hounsfield(1), root / "real" / "ct" / "1.dcm")
    (root / "real" / "p0" / "torn.png").write_bytes(b"\x89PNG")
    manifest = build("folder", root)
    write(manifest, tmp_path / "out" / "manifest.csv")
    moved = root.rename(tmp_path / "there")
    again = read(tmp_path / "out" / "manifest.csv", moved)
    assert [replace(each, path=each.path.relative_to(moved)) for each in again.records] == [
        replace(each, path=each.path.relative_to(root)) for each in manifest.records
    ]
    assert [each.detail for each in again.left_out] == [each.detail for each in manifest.left_out]
    record = next(each for each in again.records if each.path.suffix == ".dcm")
    sample = load(record)
    assert pixel_sha256(sample.image) == sample.sha256 == record.sha256
    assert json.loads(json.dumps(dict(record.stored)))["manufacturer"] == "MAKER"


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "real/../../secret.png", ""])
def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path, path: str) -> None:
    root = site(tmp_path / "here", 4)
    write_raster(pattern(1), tmp_path / "secret.png")
    file = tmp_path / "manifest.csv"
    write(build("folder", root), file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[-1].replace("real/p3/1.png", path, 1)]) + "\n")
    assert lines[-1] != file.read_text().splitlines()[-1]
    with pytest.raises(DatasetError, match=f"line {len(lines) + 1}.*doesn't lie below"):
        read(file, root)
    index = tmp_path / "xray_knee" / "index.csv"
    for name in (path, "other/1.png"):
        index.parent.mkdir(exist_ok=True)
        index.write_text(f"split,source,group,file\ncurated,s,1,{name}\n")
        with pytest.raises(DatasetError, match=r"index\.csv.*doesn't lie below"):
            find_knee(index.parent)


def test_a_manifest_does_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    forwards = build("folder", site(tmp_path, 6))
    again = build("folder", tmp_path)
    assert forwards == again
    assert [each.name for each in forwards.records] == sorted(each.name for each in forwards.records)


def test_several_processes_make_the_same_manifest(tmp_path: Path) -> None:
    root = site(tmp_path, 15)
    (root / "real" / "p0" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert build("folder", root, jobs=2) == build("folder", root)


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="not a manifest"):
        read(tmp_path / "other.csv", tmp_path)
