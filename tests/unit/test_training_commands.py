"""What is wrong with a command is said in one line, with an exit status of 2."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import REPOSITORY
from training.__main__ import main
from training.configuration import read_configuration

QUICK = REPOSITORY / "training" / "configs" / "quick.toml"


def folder_of(root: Path, count: int, side: int) -> Path:
    """A configuration for a folder of real images made up on the spot."""
    (root / "real").mkdir(parents=True)
    (root / "fake").mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "real" / f"{number}.png")
    config = root / "own.toml"
    text = QUICK.read_text(encoding="utf-8").replace('name = "quick"', 'name = "own"')
    config.write_text(text.replace('"radiograph-tiles"', '"folder"'), encoding="utf-8")
    return config


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--config", "nowhere.toml", "--data", ".", "--budget-minutes", "1"], "nowhere.toml"),
        (["export", "--config", str(QUICK), "--data", ".", "--checkpoint", "nowhere.pt"], "nowhere.pt"),
        (["evaluate", "--config", str(QUICK), "--data", ".", "--bundle", "nowhere"], "nowhere"),
    ],
)
def test_what_is_missing_is_named(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("count", "side", "said"), [(2, 256, "part"), (12, 100, "largest crop")])
def test_data_that_can_not_be_learnt_from_are_refused_at_once(
    count: int, side: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = folder_of(tmp_path, count, side)
    status = main(["train", "--config", str(config), "--data", str(tmp_path), "--budget-minutes", "1"])
    assert status == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("pairs = 12", "pares = 12", "pares"),
        ("[sampling]\nhounsfield = false", "", "sampling"),
        ("64]", "50]", "multiples"),
    ],
)
def test_a_mistake_in_a_configuration_names_file_and_key(before: str, after: str, said: str, tmp_path: Path) -> None:
    text = QUICK.read_text(encoding="utf-8")
    assert before in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"wrong\.toml.*{said}"):
        read_configuration(path)
