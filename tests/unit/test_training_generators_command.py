"""``python -m training generators`` from outside: what it writes, and what it says when it can't."""

import argparse
import json
from pathlib import Path

import pytest

from training.commands import generators
from training.configuration import read_configuration
from training.generators import load
from training.generators.store import FILE, patient_digest
from training.setting import make_setting
from training.split import patients

QUICK = Path(__file__).resolve().parents[2] / "training" / "configs" / "quick.toml"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    generators.add(parser.add_subparsers())
    options = parser.parse_args(["generators", *arguments])
    return options.run(options)


def test_a_small_budget_makes_a_whole_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "made"
    assert (
        run("--config", str(QUICK), "--data", str(tmp_path), "--output", str(output), "--budget-minutes", "0.02") == 0
    )
    assert set(load(output)) == {"pix2pix", "vae", "vae-whole", "diffusion"}
    assert not [path for path in output.iterdir() if path.name.startswith(".")]
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in ("pix2pix", "vae", "diffusion"))
    split = make_setting(read_configuration(QUICK), tmp_path).split
    about = json.loads((output / FILE).read_text())
    assert about["data"]["patients"] == sorted(map(patient_digest, patients(split.train)))
    assert about["generators"]["vae"]["seconds"] > 0


def test_only_one_can_be_asked_for(tmp_path: Path) -> None:
    arguments = ("--config", str(QUICK), "--data", str(tmp_path), "--output", str(tmp_path), "--steps", "1")
    assert run(*arguments, "--only", "vae") == 0
    assert set(load(tmp_path)) == {"vae", "vae-whole"}
    with pytest.raises(SystemExit):
        run(*arguments, "--only", "cyclegan")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--config", str(QUICK), "--budget-minutes", "0"), "--budget-minutes must be above 0"),
        (("--config", str(QUICK.with_name("knee-xr.toml"))), "index.csv"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert run("--data", str(tmp_path / "none"), "--output", str(tmp_path / "made"), *more) == 2
    said = capsys.readouterr().err
    assert said.startswith("generators: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "made").exists()
