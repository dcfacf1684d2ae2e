"""Training: pairs, warm-up and cosine, a moving average of the weights, best checkpoint, exact resume."""

import copy
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from medfake_pacs.classifier.network import inference_device, network_class
from training.baselines.ranking import area
from training.checkpoint import BEST, LAST, Progress, read, restore, save
from training.configuration import Plan
from training.depthwise import replace_depthwise
from training.identity import check_beginning, check_same, facts_of, learnt_by
from training.loss import pair_loss, pooled
from training.sampling import Batch
from training.setting import Setting
from training.supply import Source, Supply, batches, validation_batches
from training.watching import Watch, gpu_percent

_SAVE_EVERY_S = 300.0
_SAY_EVERY = 25
_FLOOR = 0.01


class Average:
    """An exponential moving average of a network, batch-norm statistics included."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Moves towards ``network``; quickly during the first steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        mine, theirs = list(self.network.state_dict().values()), list(network.state_dict().values())
        moving = [number for number, value in enumerate(mine) if value.is_floating_point()]
        torch._foreach_lerp_([mine[number] for number in moving], [theirs[number] for number in moving], 1 - decay)
        for number in set(range(len(mine))) - set(moving):
            mine[number].copy_(theirs[number])


class Trainer:
    """One run. Everything it writes is under ``output``: last.pt, best.pt, history.json, tensorboard/.

    It ends after ``budget_s`` seconds of training, counted over all resumptions, or the plan's steps, or when
    validation has not improved for ``patience`` rounds. With steps alone a resumed run is the uninterrupted one, bit by
    bit; a budget makes the learning rate follow the clock.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Sequence[Setting],
        output: Path,
        *,
        budget_s: float = math.inf,
        device: str = "auto",
        threads: int = 0,
        initial: Path | None = None,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._plan = plan
        self._settings = plan.training
        self._output = output
        self._budget_s = budget_s
        self._device = inference_device(device)
        torch.manual_seed(plan.seed)
        first = plan.members[0]
        network = network_class(first.cell_px)(
            len(first.preprocessing.channels),
            backbone=first.backbone,
            drop_rate=self._settings.drop_rate,
            drop_path_rate=self._settings.drop_path_rate,
        )
        self._facts = facts_of(plan, settings)
        begun_with = {} if initial is None else self._begin_with(network, initial)
        self._network = network.to(self._device, memory_format=torch.channels_last)
        self._average = Average(self._network, self._settings.ema_decay)
        if self._device.type == "cpu":
            replace_depthwise(self._network)
        self._optimizer = torch.optim.AdamW(_groups(self._network, self._settings.weight_decay), lr=0.0)
        self._progress = Progress(device=_described(self._device), begun_with=begun_with)
        self._sources = [self._source(setting, "train") for setting in settings]
        self._validation = {
            setting.configuration.name: validation_batches(
                self._source(setting, "validation"),
                seed=plan.seed,
                pairs=self._settings.validation_pairs,
                crop_px=self._settings.validation_px,
            )
            for setting in settings
        }

    def _begin_with(self, network: nn.Module, initial: Path) -> dict[str, Any]:
        """Takes another run's averaged weights; what is to be remembered of it."""
        state = read(initial)
        check_beginning(state, self._facts, initial)
        network.load_state_dict(state["average"])
        about = {name: state["progress"][name] for name in ("step", "images", "elapsed_s", "device", "begun_with")}
        return about | {"families": sorted(learnt_by(state)), "members": sorted(state["facts"]["members"])}

    @staticmethod
    def _source(setting: Setting, part: str) -> Source:
        families = setting.available(setting.configuration.families)
        return Source(sampler=setting.sampler(part), families=families)

    def run(self) -> Progress:
        """Trains, or goes on from last.pt where there is one; returns where it ended."""
        if (self._output / LAST).exists():
            state = read(self._output / LAST, self._device)
            check_same(state["facts"], self._facts, self._output / LAST)
            self._progress = restore(
                state, network=self._network, average=self._average.network, optimizer=self._optimizer
            )
        settings = self._settings
        supply = Supply(
            self._sources, seed=self._plan.seed, pairs=settings.pairs, phases=settings.phases, steps=settings.steps
        )
        supplied = batches(supply, self._progress.step, workers=settings.data_workers)
        with Watch(self._output, self._plan.name) as watch:
            self._loop(supply, supplied, watch)
        return self._progress

    def _loop(self, supply: Supply, supplied: Any, watch: Watch) -> None:
        at, settings = self._progress, self._settings
        last = saved = time.monotonic()
        validated_s = at.elapsed_s
        losses: list[float] = []
        said: tuple[float, int] = (at.elapsed_s, at.images)
        while not self._ended():
            supply.enter(self._part())
            losses.append(self._step(next(supplied)))
            now = time.monotonic()
            at.elapsed_s, last = at.elapsed_s + now - last, now
            if at.step % _SAY_EVERY == 0:
                self._say(watch, losses[-_SAY_EVERY:], said)
                said = (at.elapsed_s, at.images)
            by_time = not settings.validate_every_steps and at.elapsed_s - validated_s >= settings.validate_every_s
            if by_time or (settings.validate_every_steps and at.step % settings.validate_every_steps == 0):
                self._validate(watch, float(np.mean(losses)))
                losses, validated_s, last = [], at.elapsed_s, time.monotonic()
            if now - saved >= _SAVE_EVERY_S:
                self._save(LAST)
                saved = last = time.monotonic()
        if losses:
            self._validate(watch, float(np.mean(losses)))

    def _ended(self) -> bool:
        at = self._progress
        by_steps = self._settings.steps and at.step >= self._settings.steps
        return bool(by_steps or at.elapsed_s >= self._budget_s or at.stale >= self._settings.patience)

    def _part(self) -> float:
        at = self._progress
        by_steps = at.step / self._settings.steps if self._settings.steps else 0.0
        return min(1.0, max(by_steps, at.elapsed_s / self._budget_s))

    def _step(self, batch: Batch) -> float:
        at, settings = self._progress, self._settings
        torch.manual_seed(self._plan.seed * 1_000_003 + at.step)
        warm = min(1.0, (at.step + 1) / settings.warm_up_steps)
        rate = settings.learning_rate * warm * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * self._part())) / 2)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._network.train()
        with torch.autocast(self._device.type, torch.bfloat16):
            logits = self._network(self._input(batch))
        loss = pair_loss(logits.float(), batch, settings.top_positions, settings.cell_weight)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._average.update(self._network, at.step)
        at.step += 1
        at.images += len(batch.labels)
        return float(loss.detach())

    def _input(self, batch: Batch) -> Tensor:
        return torch.from_numpy(batch.pixels).to(self._device, memory_format=torch.channels_last, non_blocking=True)

    @torch.inference_mode()
    def _scores(self, drawn: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
        scores = []
        for batch in drawn:
            with torch.autocast(self._device.type, torch.bfloat16):
                logits = self._average.network(self._input(batch))
            scores.append(pooled(logits.float(), self._settings.top_positions).cpu().numpy())
        return np.concatenate(scores), np.concatenate([batch.labels for batch in drawn])

    def _validate(self, watch: Watch, training_loss: float) -> None:
        at = self._progress
        values: dict[str, float] = {}
        losses, hits, areas = [], [], []
        for name, drawn in self._validation.items():
            score, label = self._scores(drawn)
            areas.append(area(score[label == 0], score[label == 1]))
            losses.append(float(binary_cross_entropy_with_logits(torch.from_numpy(score), torch.from_numpy(label))))
            hits.append(float(((score > 0) == (label > 0.5)).mean()))
            if len(self._validation) > 1:
                values[f"auc_{name}"] = areas[-1]
        values |= {"auc": float(np.mean(areas)), "loss": float(np.mean(losses)), "accuracy": float(np.mean(hits))}
        about = {"step": at.step, "elapsed_s": round(at.elapsed_s, 1), "training_loss": training_loss}
        at.history.append(about | {f"validation_{name}": value for name, value in values.items()})
        watch.validation(at.step, at.elapsed_s, values, at.history)
        better = values["auc"] > at.best_auc
        at.best_auc, at.stale = (values["auc"], 0) if better else (at.best_auc, at.stale + 1)
        if better:
            self._save(BEST)
        self._save(LAST)

    def _say(self, watch: Watch, losses: Sequence[float], before: tuple[float, int]) -> None:
        at = self._progress
        seconds, images = at.elapsed_s - before[0], at.images - before[1]
        values = {
            "loss": float(np.mean(losses)),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "images_per_s": images / max(seconds, 1e-6),
        }
        busy = gpu_percent(self._device)
        if busy is not None:
            values["gpu_percent"] = busy
        watch.step(at.step, self._part(), at.elapsed_s, values)

    def _save(self, name: str) -> None:
        save(
            self._output / name,
            network=self._network,
            average=self._average.network,
            optimizer=self._optimizer,
            at=self._progress,
            facts=self._facts,
        )


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decays matrices and kernels, not gains and biases."""
    decayed = [value for value in network.parameters() if value.ndim > 1]
    others = [value for value in network.parameters() if value.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _described(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
