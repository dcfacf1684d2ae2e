"""A run: it learns, ends when it is told to, and goes on after a kill as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support import REPOSITORY, wait_for
from tests.unit.training_support import made_up_setting
from training.checkpoint import BEST, LAST, read
from training.configuration import Plan, TrainingSettings, read_configuration
from training.setting import Setting
from training.train import Trainer

CONFIG = REPOSITORY / "training" / "configs" / "lung-ct.toml"
FAMILIES = ("noise", "nodule", "upsample")
SETTINGS = TrainingSettings(
    pairs=4, phases=((0.0, 64), (0.5, 96)), steps=8, validation_pairs=8, validation_px=64, validate_every_steps=4
)


def setting_of(name: str, families: tuple[str, ...], held_out: tuple[str, ...]) -> Setting:
    """Made-up slices with these families."""
    configuration = replace(
        read_configuration(CONFIG),
        name=name,
        backbone="test_efficientnet",
        families=families,
        held_out_families=held_out,
        pinned_to_test=(),
    )
    return made_up_setting(configuration)


def trainer(
    output: Path,
    settings: TrainingSettings = SETTINGS,
    members: int = 1,
    families: tuple[str, ...] = FAMILIES,
    held_out: tuple[str, ...] = ("poisson",),
    **options: object,
) -> Trainer:
    """A trainer of as many members, all alike."""
    output.mkdir(parents=True, exist_ok=True)
    each = [setting_of(f"member{number}", families, held_out) for number in range(members)]
    plan = Plan(name="try", seed=1, members=tuple(one.configuration for one in each), training=settings)
    return Trainer(plan, each, output, device="cpu", threads=1, **options)  # type: ignore[arg-type]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint."""
    state: dict[str, torch.Tensor] = read(path)["average"]
    return state


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps that nothing interrupted."""
    output = tmp_path_factory.mktemp("whole")
    trainer(output).run()
    return output


def test_a_run_writes_what_it_learnt_and_how(whole: Path) -> None:
    history = json.loads((whole / "history.json").read_text())
    assert [entry["step"] for entry in history] == [4, 8]
    assert {"training_loss", "validation_loss", "validation_accuracy", "validation_auc"} <= set(history[0])
    assert (whole / BEST).exists()
    assert list((whole / "tensorboard").glob("events.*"))


def test_a_killed_run_goes_on_as_if_nothing_had_happened(whole: Path, tmp_path: Path) -> None:
    script = "import sys; from tests.unit.test_training_run import endless; endless(sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, env=os.environ)
    try:
        wait_for((tmp_path / LAST).exists, 120, "a first checkpoint")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert 4 <= read(tmp_path / LAST)["progress"]["step"] < 8
    trainer(tmp_path).run()
    one, other = weights(whole / LAST), weights(tmp_path / LAST)
    assert all(torch.equal(one[name], other[name]) for name in one)


def endless(output: str) -> None:
    """The same run, held up after its first validation until it is killed."""
    one = trainer(Path(output))
    step = one._step

    def held(batch: object) -> float:
        if one._progress.step == 5:
            signal.pause()
        return step(batch)  # type: ignore[arg-type]

    one._step = held  # type: ignore[method-assign]
    one.run()


def test_a_budget_ends_a_run_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=0, validate_every_steps=0, validate_every_s=1e9)
    first = trainer(tmp_path, settings, budget_s=1.0).run()
    assert first.step > 0
    second = trainer(tmp_path, settings, budget_s=first.elapsed_s + 1.0).run()
    assert second.step > first.step
    assert second.history[: len(first.history)] == first.history
    assert trainer(tmp_path, settings, budget_s=0.5).run().step == second.step


def test_a_run_ends_early_when_validation_does_not_improve(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=40, validate_every_steps=1, patience=2, learning_rate=0.0)
    assert trainer(tmp_path, settings).run().step < 40


def test_members_are_learnt_together_and_validated_apart(tmp_path: Path) -> None:
    progress = trainer(tmp_path, replace(SETTINGS, steps=4), members=2).run()
    assert {"validation_auc_member0", "validation_auc_member1", "validation_auc"} <= set(progress.history[-1])


def test_a_run_can_begin_with_the_weights_of_another(whole: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=1, validate_every_steps=1, learning_rate=0.0)
    progress = trainer(tmp_path, settings, initial=whole / LAST).run()
    assert progress.begun_with["step"] == 8
    one, other = weights(whole / LAST), weights(tmp_path / LAST)
    assert torch.allclose(one["backbone.conv_stem.weight"], other["backbone.conv_stem.weight"])


def test_a_run_is_not_gone_on_with_as_another(whole: Path) -> None:
    """A checkpoint knows what it learnt from: other families would be called unseen, and aren't."""
    with pytest.raises(ValueError, match=r"member0\.families"):
        trainer(whole, families=("noise",)).run()
    with pytest.raises(ValueError, match="training"):
        trainer(whole, replace(SETTINGS, pairs=6)).run()


def test_weights_that_know_what_is_held_out_are_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nodule, which member0 holds out"):
        trainer(tmp_path, families=("noise", "upsample"), held_out=("nodule", "poisson"), initial=whole / LAST)


def test_what_was_learnt_before_the_last_run_is_known_too(whole: Path, tmp_path: Path) -> None:
    short = replace(SETTINGS, steps=1)
    progress = trainer(tmp_path / "second", short, families=("noise",), initial=whole / LAST).run()
    third = trainer(tmp_path / "third", short, families=("noise",), initial=tmp_path / "second" / LAST).run()
    assert third.begun_with["begun_with"] == progress.begun_with
    assert third.begun_with["families"] == sorted(FAMILIES)
    with pytest.raises(ValueError, match="nodule, which member0 holds out"):
        trainer(tmp_path / "fourth", families=("noise",), held_out=("nodule",), initial=tmp_path / "second" / LAST)


def test_data_workers_give_the_same_batches(whole: Path, tmp_path: Path) -> None:
    """In a process of its own: workers are forked, and a process that runs tests has threads of other libraries."""
    script = "import sys; from tests.unit.test_training_run import with_workers; with_workers(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, timeout=120, check=True)
    trainer(tmp_path / "none", replace(SETTINGS, steps=4)).run()
    one, other = weights(tmp_path / "none" / LAST), weights(tmp_path / "one" / LAST)
    assert all(torch.equal(one[name], other[name]) for name in one)


def with_workers(output: str, steps: int = 4) -> None:
    """A run whose batches another process makes."""
    trainer(Path(output) / "one", replace(SETTINGS, steps=steps, data_workers=1)).run()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_data_workers_end_with_their_run(tmp_path: Path, number: signal.Signals) -> None:
    """Also one that is handing over a batch: nobody takes it any more."""
    script = "import sys; from tests.unit.test_training_run import with_workers; with_workers(sys.argv[1], 9999)"
    checkpoint = tmp_path / "one" / LAST
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY) as run:
        try:
            wait_for(checkpoint.exists, 120, "the first checkpoint")
            workers = [Path(f"/proc/{one}") for one in children(run.pid)]
            assert workers
        finally:
            run.send_signal(number)
    wait_for(lambda: not any(worker.exists() for worker in workers), 30, "the end of the data workers")


def children(pid: int) -> list[str]:
    """The ids of the processes that a process started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
