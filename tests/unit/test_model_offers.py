"""What an update of a model is judged by: versions, names, and shares beyond chance."""

import json
import os
from pathlib import Path

import pytest

from medfake_pacs.config import ModelsSettings, parse_settings
from medfake_pacs.config.bundles import POINTER_NAME, bundle_directories
from medfake_pacs.entities import FrameScore, ImageAttributes, ModelIdentity, Score, VerdictLabel
from medfake_pacs.errors import BundleError, ConfigurationError
from medfake_pacs.verdict import AssessedImage, Limits, Profile
from medfake_pacs.workflows import model_files
from medfake_pacs.workflows import model_library as library
from medfake_pacs.workflows.model_judging import judge, pairs, wilson_lower

REAL, FAKE, UNDECIDED = VerdictLabel.REAL, VerdictLabel.FAKE, VerdictLabel.INDETERMINATE
SETTINGS = ModelsSettings(canary_minimum=10)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("0.9.0", "0.10.0"),
        ("1.0", "1.0.1"),
        ("1.0.0-rc1", "1.0.0"),
        ("1.0.0-alpha", "1.0.0-beta"),
        ("1.0.0-rc2", "1.0.0-rc10"),
        ("2026.9", "2026.11"),
    ],
)
def test_versions_are_compared_as_people_read_them(older: str, newer: str) -> None:
    assert library.is_newer(newer, older)
    assert not library.is_newer(older, newer)
    assert not library.is_newer(newer, newer)
    assert library.is_newer(f"{newer}+site.20261124", newer)
    assert not library.is_newer(newer, f"{newer}+site.20261124")
    assert library.is_newer(f"{newer}+site.20261201", f"{newer}+site.20261124")
    assert library.is_newer(newer, f"{older}+site.20261124")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("../x", "1"),
        ("offers", "1"),
        ("a/b", "1"),
        ("", "1"),
        (".hidden", "1"),
        ("ok", "1/2"),
        ("ok", ".."),
        ("ok", ""),
    ],
)
def test_a_card_names_no_path(name: str, version: str) -> None:
    with pytest.raises(BundleError, match="can't be used"):
        library.check_names(name, version)
    library.check_names("lung-ct", "1.2.3-rc1+site")


def test_wilsons_interval_has_the_values_of_the_tables() -> None:
    assert wilson_lower(3, 100) == pytest.approx(0.010256, abs=1e-5)
    assert wilson_lower(1, 10) == pytest.approx(0.017876, abs=1e-5)
    assert wilson_lower(10, 10) == pytest.approx(0.722460, abs=1e-5)
    assert wilson_lower(0, 50) == 0
    assert wilson_lower(0, 0) == 0


def test_two_new_fakes_of_a_hundred_are_chance_and_three_are_not() -> None:
    assert judge(SETTINGS, [(REAL, FAKE)] * 2 + [(REAL, REAL)] * 98).passed
    refused = judge(SETTINGS, [(REAL, FAKE)] * 3 + [(REAL, REAL)] * 97)
    assert not refused.passed
    assert refused.reason == "3 of 100 recent images that weren't fake would be"


def test_what_was_fake_before_may_stay_so_and_what_becomes_real_is_no_objection() -> None:
    found = judge(SETTINGS, [(FAKE, FAKE)] * 10 + [(UNDECIDED, REAL)] * 10)
    assert found.passed
    assert (found.images, found.not_fake_before, found.newly_fake, found.real_before) == (20, 10, 0, 0)


def test_a_bundle_that_abstains_from_what_was_real_is_refused() -> None:
    assert not judge(SETTINGS, [(REAL, UNDECIDED)] * 15 + [(REAL, REAL)] * 85).passed
    assert judge(SETTINGS, [(REAL, UNDECIDED)] * 8 + [(REAL, REAL)] * 92).passed


def test_few_images_are_enough_to_refuse_and_not_to_pass() -> None:
    few = judge(SETTINGS, [(REAL, REAL)] * 3)
    assert (few.passed, few.enough, few.reason) == (True, False, "3 recent images to try it on; it takes 10")
    bad = judge(SETTINGS, [(REAL, FAKE)] * 3)
    assert (bad.passed, bad.enough) == (False, True)
    none = judge(ModelsSettings(canary_minimum=0), [])
    assert (none.passed, none.enough, none.reason) == (True, True, "no recent images")


def test_the_pointer_decides_and_one_that_cannot_be_read_is_never_taken_for_the_base(tmp_path: Path) -> None:
    base, state = tmp_path / "base", tmp_path / "state"
    for name in ("lung-ct", "knee-xr"):
        (base / name).mkdir(parents=True)
        (base / name / "card.json").write_text("{}")
    document = {"node": {"state_dir": str(state)}, "scoring": {"models_dir": str(base)}}
    settings = parse_settings(document, base=tmp_path)
    assert bundle_directories(settings) == {"knee-xr": base / "knee-xr", "lung-ct": base / "lung-ct"}
    folder = settings.model_library_dir / "lung-ct"
    folder.mkdir(parents=True)
    (folder / POINTER_NAME).write_text(json.dumps({"active": "1.1.0-abc"}))
    assert bundle_directories(settings)["lung-ct"] == folder / "1.1.0-abc"
    for broken in ('{"active": "../../etc"}', '{"active": ""}', "{", "[]"):
        (folder / POINTER_NAME).write_text(broken)
        assert bundle_directories(settings)["lung-ct"] == folder / "unreadable"
    with pytest.raises(BundleError, match="can't be read"):
        library.load_pointer(settings, "lung-ct")


def test_a_file_is_copied_within_its_limit_and_never_through_a_link(tmp_path: Path) -> None:
    source = tmp_path / "weights.safetensors"
    source.write_bytes(b"x" * 100)
    model_files.copy_file(source, tmp_path / "copy", 100)
    assert (tmp_path / "copy").read_bytes() == b"x" * 100
    with pytest.raises(BundleError, match="larger than 99 bytes"):
        model_files.copy_file(source, tmp_path / "copy2", 99)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(BundleError, match="symbolic link"):
        model_files.copy_file(tmp_path / "link", tmp_path / "copy3", 1000)
    with pytest.raises(BundleError, match="no regular file"):
        model_files.copy_file(tmp_path, tmp_path / "copy4", 1000)


@pytest.mark.parametrize(
    "folder",
    [".", "state", "state/spool/new", "state/models", "state/models/lung-ct", "base", "base/lung-ct", "linked"],
)
def test_new_bundles_are_not_taken_from_a_folder_that_holds_something_else(tmp_path: Path, folder: str) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "state")
    document = {"node": {"state_dir": "state"}, "scoring": {"models_dir": "base"}}
    for fine in ("", "state/models/incoming", "incoming"):
        parse_settings(document | {"models": {"incoming_dir": fine}}, base=tmp_path)
    with pytest.raises(ConfigurationError, match="incoming_dir"):
        parse_settings(document | {"models": {"incoming_dir": folder}}, base=tmp_path)


def _profile(real_to: float, fake_from: float) -> Profile:
    """Return a profile whose limits for series are the given ones; a single image with a low score is real."""
    single, several = Limits(real_to=0.0, fake_from=1.0), Limits(real_to=real_to, fake_from=fake_from)
    return Profile(
        identity=ModelIdentity(name="m", version="1", sha256="0" * 64),
        contiguous=3,
        slope=1.0,
        intercept=0.0,
        limits={(False, False): single, (False, True): several},
    )


def _slice(number: int) -> AssessedImage:
    attributes = ImageAttributes(
        sop_class_uid="1.2",
        sop_instance_uid=f"1.{number}",
        study_instance_uid="2",
        series_instance_uid="3",
        modality="CT",
        slice_position_mm=float(number),
    )
    score = Score(pixel_sha256="x", model_sha256="m", frames=(FrameScore(frame_number=1, score=-9.0),), engine="e")
    return AssessedImage(instance_id=number, attributes=attributes, pixel_sha256="x", score=score)


def test_limits_that_decide_series_only_are_tried_on_whole_series() -> None:
    images = {number: _slice(number) for number in range(12)}
    profiles = (_profile(0.0, 1.0), _profile(-50.0, -50.0))
    singles = pairs([[number] for number in images], (images, images), profiles)
    whole = pairs([list(images)], (images, images), profiles)
    assert set(singles) == {(REAL, REAL)}
    assert whole == [(REAL, FAKE)]
    assert judge(SETTINGS, singles).passed
    found = judge(SETTINGS, singles, whole)
    assert not found.passed
    assert found.reason == "1 of 1 recent series that weren't fake would be"
    assert (found.images, found.whole_series, found.series_newly_fake) == (12, 1, 1)
    assert pairs([[0, 99]], (images, images), profiles) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another account")
def test_a_lock_that_root_makes_belongs_to_the_account_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    assert model_files.own_lock(tmp_path).stat().st_uid == 12345
    assert model_files.own_lock(tmp_path).is_file()
