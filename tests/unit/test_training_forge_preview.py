"""``forge preview``: a sheet whose rows show real, fake, difference and mask of one place."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.test_training_forge import picture
from training.commands import forge as command
from training.forge import Forge, reconstruct
from training.forge.preview import row_of, volume_row
from training.forge.sheet import Panel, difference, shades, sheet
from training.forge.site import alike, anatomy


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge(reconstruct.fit([picture(0)], np.random.default_rng(0), count=400))


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    options = parser.parse_args(["forge", "preview", *arguments])
    return int(options.run(options))


def test_a_row_shows_what_changed(forge: Forge) -> None:
    image = picture(1, side=200) + 600
    place, real, fake, change, mask = row_of(forge, "copymove", [image], np.random.default_rng(1), hounsfield=False)
    assert (real.picture != fake.picture).any()
    white = (change.picture == 255).all(axis=2)
    assert (~white).any()
    assert (mask.picture[~white] > 0).mean() > 0.9
    assert place.text == "copymove"
    assert (place.picture != shades(image, *np.percentile(image, [0.5, 99.5]))).any()


def test_a_volume_row_adds_coronal_cuts(forge: Forge) -> None:
    volume = np.stack([picture(number, side=128) + 540 for number in range(12)])
    row = volume_row(forge, "nodule", volume, (2.5, 0.8, 0.8), np.random.default_rng(0), seed=1)
    assert [panel.text.split(",")[0] for panel in row[-2:]] == ["coronal", "coronal"]
    assert (row[-1].picture != row[-2].picture).any()


def test_colours_say_up_and_down() -> None:
    red, white, blue = difference(np.float32([[10, 0, -10]]), 10)[0].tolist()
    assert red == [255, 0, 0]
    assert white == [255, 255, 255]
    assert blue == [0, 0, 255]


def test_a_sheet_keeps_pixels_as_blocks() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = (1, 2, 3)
    page = np.asarray(sheet("title", [[Panel(picture=pixels, text="text")]]))
    assert (page == (1, 2, 3)).all(axis=2).sum() == 120 * 120


def test_nobody_edits_air_or_pastes_bone_into_a_lung() -> None:
    image = np.full((120, 120), -1000, np.float32)
    image[20:100, 20:100] = 40
    image[40:80, 30:60] = -850
    body = anatomy(image, hounsfield=True)
    assert not body[:15].any()
    assert body[60, 45]
    assert body[90, 90]
    assert alike(image, (60, 45), np.array([[90, 80], [55, 48], [10, 10]])) == (55, 48)
    assert not anatomy(np.full((40, 40), -1000, np.float32), hounsfield=True).any()


def test_the_command_writes_a_sheet_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        grey = np.clip(picture(number) / 5 + 220, 0, 255).astype(np.uint8)
        target = tmp_path / "real" / f"p{number}" / f"{number}.png"
        target.parent.mkdir(parents=True)
        Image.fromarray(grey).save(target)
    output = tmp_path / "sheet.png"
    shown = ["--reader", "folder", "--root", str(tmp_path), "--output", str(output), "--families", "noise"]
    assert run(*shown, "upsample", "--examples", "2") == 0
    with Image.open(output) as page:
        assert page.height > 4 * 240
    assert run(*shown, "pix2pix") == 2
    assert "python -m training generators" in capsys.readouterr().err
    assert run(*shown, "--volume") == 2
    assert "no series" in capsys.readouterr().err
    assert run("--reader", "folder", "--root", str(tmp_path / "fake"), "--output", str(output)) == 2
