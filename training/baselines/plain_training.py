"""How the plain baseline is trained: Adam, cosine, images one by one, the best checkpoint by validation."""

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from medfake_pacs.classifier.network import inference_device
from training.baselines.plain_input import Bytes, as_input, augmented, small, window_of
from training.baselines.plain_network import (
    NAME,
    WEIGHTS,
    About,
    Plain224,
    load_plain224,
    logits_of,
    new_network,
    score_small,
    write_about,
    write_weights,
)
from training.baselines.ranking import area
from training.baselines.turns import in_turn
from training.depthwise import replace_depthwise
from training.setting import Setting

STATE = "plain224.last.pt"
_BATCH = 16
_LEARNING_RATE = 1e-3
_WARM_UP_STEPS = 30
_VALIDATIONS = 8
_VALIDATION_PAIRS = 60
_SAVE_EVERY_S = 120.0
_TRAINING, _VALIDATION = 30, 31


class PlainTrainer:
    """One run under ``output``; what a step draws follows from its number alone, so a run can be taken up again."""

    def __init__(
        self, setting: Setting, output: Path, *, budget_s: float, images_budget: int | None, device: str
    ) -> None:
        configuration = setting.configuration
        self._families = setting.available(configuration.families)
        if not self._families or not setting.split.train or not setting.split.validation:
            raise ValueError("the plain baseline needs families, training and validation images")
        self._setting = setting
        self._output = output
        self._budget_s = budget_s
        self._images_budget = images_budget
        self._seed = configuration.seed
        self._device = inference_device(device)
        self._window = window_of(configuration.preprocessing)
        self._sampler = setting.sampler("train")
        torch.manual_seed(self._seed)
        self._network = new_network(configuration.backbone).to(self._device, memory_format=torch.channels_last)
        if self._device.type == "cpu":
            replace_depthwise(self._network)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=0.0)
        self._at: dict[str, Any] = {"step": 0, "best_step": 0, "seconds": 0.0, "best_auc": -1.0, "history": []}

    def run(self) -> None:
        """Trains until the budget is spent; the best weights and their JSON are in the folder afterwards."""
        self._output.mkdir(parents=True, exist_ok=True)
        self._resume()
        validation = self._validation_images()
        last = saved = time.monotonic()
        losses: list[float] = []
        while self._part() < 1:
            losses.append(self._step())
            now = time.monotonic()
            self._at["seconds"] += now - last
            last = now
            if self._part() >= min(1.0, (len(self._at["history"]) + 1) / _VALIDATIONS):
                self._validate(validation, float(np.mean(losses)))
                losses = []
                saved = last = time.monotonic()
            elif now - saved > _SAVE_EVERY_S:
                self._save()
                saved = now
        if not (self._output / WEIGHTS).exists():
            self._validate(validation, math.nan)

    def _part(self) -> float:
        if self._images_budget is not None:
            return self._at["step"] * _BATCH / self._images_budget
        return self._at["seconds"] / max(self._budget_s, 1e-6)

    def _step(self) -> float:
        step = self._at["step"]
        rng = np.random.default_rng((self._seed, _TRAINING, step))
        torch.manual_seed((self._seed << 20) + step)
        pixels, labels = self._batch(rng)
        warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
        for group in self._optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, self._part()))) / 2)
        self._network.train()
        loss = binary_cross_entropy_with_logits(logits_of(self._network, pixels), labels)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._at["step"] += 1
        return float(loss.detach())

    def _batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        samples = self._setting.split.train
        numbers = in_turn([sample.patient for sample in samples], _BATCH // 2, rng)
        while len(numbers) < _BATCH // 2:
            numbers.append(int(rng.integers(len(samples))))
        images = self._pairs("train", numbers, rng)
        pixels = augmented(as_input(images), rng).to(self._device, memory_format=torch.channels_last)
        return pixels, torch.tensor([0.0, 1.0], device=self._device).repeat(_BATCH // 2)

    def _pairs(self, part: str, numbers: list[int], rng: np.random.Generator) -> Bytes:
        """Real, its fake, real, its fake ... (2N, 224, 224) uint8, families at random."""
        samples = getattr(self._setting.split, part)
        sampler = self._sampler if part == "train" else self._setting.sampler(part)
        result = []
        for number in numbers:
            made = sampler.families_for(number, self._families)
            edit = sampler.forge_image(number, str(rng.choice(list(made or self._families))), rng)
            result += [small(samples[number].image, self._window), small(edit.image, self._window)]
        return np.stack(result)

    def _validation_images(self) -> Bytes:
        rng = np.random.default_rng((self._seed, _VALIDATION))
        patients = [sample.patient for sample in self._setting.split.validation]
        return self._pairs("validation", in_turn(patients, _VALIDATION_PAIRS, rng), rng)

    def _validate(self, images: Bytes, training_loss: float) -> None:
        self._network.eval()
        scores: list[float] = []
        for start in range(0, len(images), _BATCH):
            scores += score_small(self._network, images[start : start + _BATCH], self._device)
        auc = area(scores[0::2], scores[1::2])
        seconds, step = self._at["seconds"], self._at["step"]
        self._at["history"].append({"step": step, "seconds": round(seconds, 1), "loss": training_loss, "auc": auc})
        print(f"{seconds:7.0f} s  {NAME}, step {step}: loss {training_loss:.4f}, validation AUC {auc:.4f}", flush=True)
        if auc >= self._at["best_auc"]:
            self._at["best_auc"] = auc
            self._at["best_step"] = step
            write_weights(self._output, self._network.state_dict())
        write_about(self._output, self._about())
        self._save()

    def _about(self) -> About:
        configuration = self._setting.configuration
        return About(
            name=NAME,
            backbone=configuration.backbone,
            preprocessing=configuration.preprocessing_source,
            families=list(self._families),
            seed=self._seed,
            steps=self._at["step"],
            best_step=self._at["best_step"],
            images_seen=self._at["step"] * _BATCH,
            seconds=round(self._at["seconds"], 1),
            device=str(self._device),
            best_auc=self._at["best_auc"],
            history=list(self._at["history"]),
        )

    def _key(self) -> str:
        configuration = self._setting.configuration
        return f"{configuration.name} {configuration.backbone} {self._seed} {' '.join(self._families)}"

    def _save(self) -> None:
        state = {
            "key": self._key(),
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "at": self._at,
        }
        temporary = self._output / f".{STATE}.{os.getpid()}"
        torch.save(state, temporary)
        temporary.replace(self._output / STATE)

    def _resume(self) -> None:
        """Goes on from the state file of the same configuration; one of another is written over."""
        path = self._output / STATE
        if not path.exists():
            return
        state = torch.load(path, map_location=self._device, weights_only=True)
        if state["key"] != self._key():
            (self._output / WEIGHTS).unlink(missing_ok=True)
            return
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._at = state["at"]


def train_plain224(
    setting: Setting,
    output: Path,
    budget_s: float,
    threads: int = 0,
    device: str = "auto",
    *,
    images_budget: int | None = None,
) -> Plain224:
    """Trains within a budget and returns the best by validation; goes on where ``output`` holds an unfinished run.

    ``budget_s``: seconds of training. ``images_budget``: images to see (real and fake) instead of seconds, for a
    comparison with a model that saw as many. Everything written is under ``output``.

    Raises: ValueError where there is nothing to train on.
    """
    if threads:
        torch.set_num_threads(threads)
    PlainTrainer(setting, output, budget_s=budget_s, images_budget=images_budget, device=device).run()
    return load_plain224(output, device=device)
