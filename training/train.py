"""Training within a time budget: pairs, cosine schedule, moving average, best checkpoint, resumable."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from medfake_pacs.classifier.network import DenseClassifier, inference_device
from training.configuration import Configuration
from training.depthwise import replace_depthwise
from training.sampling import Batch
from training.setting import Average, Setting, make_setting, pooled, validation_batches
from training.statistics import auc as area

_SAVE_EVERY_S = 300.0


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a run is: what a checkpoint must remember besides weights."""

    step: int = 0
    elapsed_s: float = 0.0
    best_auc: float = 0.0
    stale: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """One run. Everything it writes is under ``output``: last.pt, best.pt, history.json."""

    def __init__(self, setting: Setting, output: Path, *, budget_s: float, device: str, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._settings = setting.configuration.training
        self._configuration = setting.configuration
        self._output = output
        self._budget_s = budget_s
        self._device = inference_device(device)
        torch.manual_seed(self._configuration.seed)
        self._rng = np.random.default_rng(self._configuration.seed)
        self._sampler = setting.sampler("train")
        self._validation = validation_batches(setting, self._configuration.families, self._settings.validation_pairs)
        network = DenseClassifier(
            len(self._configuration.preprocessing.channels),
            backbone=self._configuration.backbone,
            drop_rate=self._settings.drop_rate,
            drop_path_rate=self._settings.drop_path_rate,
        )
        self._network = network.to(self._device, memory_format=torch.channels_last)
        self._average = Average(self._network, self._settings.ema_decay)
        if self._device.type == "cpu":
            replace_depthwise(self._network)
        self._optimizer = torch.optim.AdamW(_groups(self._network, self._settings.weight_decay), lr=0.0)
        self._progress = Progress()

    def run(self) -> Progress:
        """Trains until the budget is spent or validation has not improved for ``patience`` rounds."""
        self._resume()
        last = time.monotonic()
        next_validation_s = self._progress.elapsed_s + min(self._settings.validate_every_s, self._budget_s / 4)
        next_save_s = self._progress.elapsed_s + _SAVE_EVERY_S
        losses: list[float] = []
        while self._progress.elapsed_s < self._budget_s and self._progress.stale < self._settings.patience:
            losses.append(self._step())
            now = time.monotonic()
            self._progress.elapsed_s += now - last
            last = now
            if self._progress.step % 25 == 0:
                self._say(f"loss {np.mean(losses[-25:]):.4f}")
            if self._progress.elapsed_s >= next_save_s:
                self._save("last.pt")
                next_save_s = self._progress.elapsed_s + _SAVE_EVERY_S
            if self._progress.elapsed_s >= next_validation_s:
                self._validate(float(np.mean(losses)))
                losses = []
                next_validation_s = self._progress.elapsed_s + self._settings.validate_every_s
        self._validate(float(np.mean(losses)) if losses else math.nan)
        return self._progress

    def _step(self) -> float:
        part = min(1.0, self._progress.elapsed_s / self._budget_s)
        crop_px = [side for start, side in self._settings.phases if part >= start][-1]
        pairs = max(4, round(self._settings.pairs * (96 / crop_px) ** 2)) if crop_px > 96 else self._settings.pairs
        batch = self._sampler.batch(pairs, crop_px, self._configuration.families, self._rng)
        warm = min(1.0, (self._progress.step + 1) / self._settings.warm_up_steps)
        rate = self._settings.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._network.train()
        with torch.autocast(self._device.type, torch.bfloat16):
            logits = self._network(self._input(batch))
        loss = pair_loss(logits.float(), batch, self._settings.top_positions, self._settings.cell_weight)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._average.update(self._network, self._progress.step)
        self._progress.step += 1
        return float(loss.detach())

    def _input(self, batch: Batch) -> Tensor:
        return torch.from_numpy(batch.pixels).to(self._device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def _validate(self, training_loss: float) -> None:
        scores, labels = [], []
        for batch in self._validation:
            with torch.autocast(self._device.type, torch.bfloat16):
                logits = self._average.network(self._input(batch))
            scores.append(pooled(logits.float(), self._settings.top_positions).cpu().numpy())
            labels.append(batch.labels)
        score, label = np.concatenate(scores), np.concatenate(labels)
        auc = area(score[label == 0].tolist(), score[label == 1].tolist())
        loss = float(binary_cross_entropy_with_logits(torch.from_numpy(score), torch.from_numpy(label)))
        self._progress.history.append(
            {"step": self._progress.step, "elapsed_s": self._progress.elapsed_s, "loss": training_loss, "auc": auc}
        )
        self._say(f"validation auc {auc:.4f} loss {loss:.4f}, training loss {training_loss:.4f}")
        if auc >= self._progress.best_auc:
            self._progress.best_auc, self._progress.stale = auc, 0
            self._save("best.pt")
        else:
            self._progress.stale += 1
        self._save("last.pt")

    def _say(self, text: str) -> None:
        print(f"{self._progress.elapsed_s:7.0f} s  step {self._progress.step:5d}  {text}", flush=True)

    def _save(self, name: str) -> None:
        state: dict[str, Any] = {
            "network": self._network.state_dict(),
            "average": self._average.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": json.dumps(self._rng.bit_generator.state),
            "progress": {name: getattr(self._progress, name) for name in Progress.__slots__},
        }
        temporary = self._output / f"{name}.tmp"
        torch.save(state, temporary)
        temporary.replace(self._output / name)
        (self._output / "history.json").write_text(json.dumps(self._progress.history, indent=1))

    def _resume(self) -> None:
        """Goes on from last.pt where there is one: weights, optimizer, random numbers and time spent."""
        path = self._output / "last.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self._device, weights_only=True)
        self._network.load_state_dict(state["network"])
        self._average.network.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"].cpu())
        self._rng.bit_generator.state = json.loads(state["numpy_rng"])
        self._progress = Progress(**state["progress"])
        self._say("resumed")


def pair_loss(logits: Tensor, batch: Batch, positions: int, cell_weight: float) -> Tensor:
    """Cross-entropy of the pooled logit, plus that of the cells whose truth is known."""
    labels = torch.from_numpy(batch.labels).to(logits.device)
    cells = torch.from_numpy(batch.cells).to(logits.device)
    whole = binary_cross_entropy_with_logits(pooled(logits, positions), labels)
    known = cells >= 0
    each = binary_cross_entropy_with_logits(logits, cells.clamp(min=0), reduction="none")
    positive, negative = known & (cells > 0.5), known & (cells < 0.5)
    local = _mean(each, positive) + _mean(each, negative)
    return whole + cell_weight * local / 2


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decays matrices and kernels, not gains and biases."""
    decayed = [value for value in network.parameters() if value.ndim > 1]
    others = [value for value in network.parameters() if value.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def train(
    configuration: Configuration, data: Path, output: Path, *, budget_s: float, device: str, threads: int
) -> Progress:
    """Runs (or goes on with) one training; returns where it ended."""
    output.mkdir(parents=True, exist_ok=True)
    setting = make_setting(configuration, data)
    return Trainer(setting, output, budget_s=budget_s, device=device, threads=threads).run()
