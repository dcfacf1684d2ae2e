"""A site's own images: real/ and fake/ folders, and what its node received."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from medfake_pacs.database import open_engine
from tests.spool_content import Node
from tests.unit.datasets_support import hounsfield, pattern, write_raster, write_slice
from training.datasets import READERS, DatasetError, build, load, read, write
from training.datasets.folder import find as find_folder
from training.datasets.spool import find as find_spool


def test_the_patient_is_the_header_else_the_folder_else_the_image(tmp_path: Path) -> None:
    write_slice(hounsfield(1), tmp_path / "real" / "a" / "1.dcm", patient="MRN-77")
    write_slice(hounsfield(2), tmp_path / "real" / "b" / "no-suffix", patient="MRN-77")
    write_raster(pattern(3), tmp_path / "real" / "c" / "left.png")
    write_raster(pattern(4), tmp_path / "real" / "c" / "right.jpg")
    write_raster(pattern(5), tmp_path / "real" / "alone.png")
    write_raster(pattern(6), tmp_path / "Fake" / "alone.png")
    write_raster(pattern(7), tmp_path / "Fake" / "c" / "left.png")
    records = {each.name: each for each in find_folder(tmp_path).records}
    patient = {name: each.patient for name, each in records.items()}
    assert patient["real/a/1.dcm"] == patient["real/b/no-suffix"]
    assert "MRN-77" not in patient["real/a/1.dcm"], "a manifest doesn't show whose image it is"
    assert patient["real/c/left.png"] == patient["real/c/right.jpg"] == patient["Fake/c/left.png"]
    assert len(set(patient.values())) == 4
    assert {name for name, each in records.items() if each.label == "fake"} == {"Fake/alone.png", "Fake/c/left.png"}


def test_a_picture_beside_one_patients_dicom_files_is_that_patients(tmp_path: Path) -> None:
    write_slice(hounsfield(1), tmp_path / "real" / "a" / "1.dcm", patient="MRN-77")
    write_raster(pattern(2), tmp_path / "fake" / "a" / "1.png")
    assert len({each.patient for each in find_folder(tmp_path).records}) == 1


def test_a_word_that_de_identification_left_behind_is_no_patient(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / "real" / f"{number}.dcm"
        write_slice(hounsfield(number), path, patient="ANONYMOUS", series=f"1.2.{number}")
    assert len({each.patient for each in find_folder(tmp_path).records}) == 2


def test_every_frame_of_a_file_is_an_image(tmp_path: Path) -> None:
    path = tmp_path / "real" / "loop.dcm"
    write_slice(hounsfield(1), path)
    image = pydicom.dcmread(path)
    image.NumberOfFrames = 2
    image.PixelData += hounsfield(2).astype("<i2").tobytes()
    image.save_as(path)
    samples = [load(each) for each in find_folder(tmp_path).records]
    assert [each.name for each in samples] == ["real/loop.dcm#1", "real/loop.dcm#2"]
    assert (samples[1].image == hounsfield(2)).all()


def test_a_folder_without_real_and_fake_is_refused(tmp_path: Path) -> None:
    write_raster(pattern(1), tmp_path / "genuine" / "1.png")
    with pytest.raises(DatasetError, match=r"expected real/ and fake/.*found genuine/"):
        find_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_folder(tmp_path / "absent")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path, open_engine(f"sqlite:///{tmp_path / 'medfake.db'}"))
    yield made
    made.close()


def test_what_a_node_received_is_real_unless_it_or_a_person_says_otherwise(node: Node) -> None:
    opinions = {
        1: ("real", ""),
        2: ("fake", "disagree"),
        3: ("fake", "agree"),
        4: ("real", "disagree"),
        5: ("fake", ""),
    }
    for number, (verdict, opinion) in opinions.items():
        node.judge(node.receive(number), verdict, opinion)
    node.receive(6, SyntheticData="YES")
    node.receive(7, Modality="SR")
    found = find_spool(node.state_dir)
    assert sorted(each.series for each in found.records) == ["1.2.1", "1.2.2", "1.2.5"]
    assert {each.label for each in found.records} == {"real"}
    assert {each.source for each in found.records} == {"spool-ct"}
    assert len(found.left_out) == 4
    assert found.notes == ("1 studies that the node calls fake and nobody reviewed count as real",)
    assert "MRN" not in repr(found)


def test_the_spool_and_its_database_are_not_changed(node: Node) -> None:
    study = node.receive(1)
    node.judge(study, "real")
    before = {path: path.read_bytes() for path in node.state_dir.rglob("*") if path.is_file()}
    manifest = build("spool", node.state_dir)
    assert len(manifest.records) == 1
    after = {path: path.read_bytes() for path in node.state_dir.rglob("*") if path.is_file()}
    # The index of the log that is shared with the node's processes is no content.
    assert {path for path in before if before[path] != after.get(path)} <= {node.state_dir / "medfake.db-shm"}
    assert set(after) == set(before)


def test_the_spool_of_a_stopped_node_is_read(node: Node) -> None:
    node.receive(1)
    node.engine.dispose()
    assert not (node.state_dir / "medfake.db-wal").exists()
    assert len(find_spool(node.state_dir).records) == 1


def test_pixels_of_the_spool_are_read_and_what_is_gone_is_reported(node: Node) -> None:
    for number in (1, 2):
        node.receive(number)
    gone = find_spool(node.state_dir).records[0].path
    gone.unlink()
    samples = READERS["spool"](node.state_dir)
    assert len(samples) == 1
    assert (samples[0].image == hounsfield(2)).all()
    assert [(each.path, each.reason) for each in find_spool(node.state_dir).left_out] == [
        (gone, "recorded by the node but not in its spool")
    ]


def test_a_nodes_configuration_names_its_state(node: Node) -> None:
    node.receive(1)
    configuration = node.state_dir / "medfake.toml"
    configuration.write_text(f'[node]\nstate_dir = "{node.state_dir}"\n')
    assert len(find_spool(configuration).records) == 1
    write(build("spool", configuration), node.state_dir.parent / "manifest.csv")
    (again,) = read(node.state_dir.parent / "manifest.csv", configuration).records
    assert (load(again).image == hounsfield(1)).all()


def test_a_folder_that_is_no_nodes_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    with pytest.raises(DatasetError, match=r"no medfake\.db; found objects/.*state_dir"):
        find_spool(tmp_path)
