"""How each generator learns; the same loop for all, on the CPU or CUDA, in two or three dimensions."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, max_pool2d, max_pool3d

from training.forge.diffusion import DATA_SCALE, TIMES, signal_levels
from training.generators.networks import AutoEncoder, Critic, Denoiser, InPainter
from training.generators.patches import Patches, PatchSource

_AVERAGE_DECAY = 0.995
_LOSS_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One generator's sizes and rates; lengths in pixels."""

    base: int
    batch: int
    learning_rate: float
    latents: int = 0
    l1_weight: float = 100.0
    kl_weight: float = 1e-5


RECIPES: dict[str, Recipe] = {
    "pix2pix": Recipe(base=16, batch=12, learning_rate=2e-4),
    "vae": Recipe(base=16, batch=12, learning_rate=1e-3, latents=10),
    "diffusion": Recipe(base=16, batch=12, learning_rate=1e-3),
}
"""CT-GAN's widths times 0.16. Adam 2e-4, β₁ 0.5, LSGAN and L1 times 100 are CT-GAN's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long to learn: ``seconds``, or ``steps`` where a run must be repeated exactly."""

    seconds: float = 0.0
    steps: int = 0

    def parts(self) -> Iterator[float]:
        """One value for each step: the part of the budget that is used up, 0..1."""
        begun, step = time.monotonic(), 0
        while True:
            used = step / self.steps if self.steps else (time.monotonic() - begun) / max(self.seconds, 1e-9)
            if used >= 1 and step > 0:
                return
            yield min(used, 1.0)
            step += 1


@dataclass(slots=True, kw_only=True)
class Learned:
    """What came of it: the averaged network, how many steps, and the mean losses along the way."""

    network: nn.Module
    steps: int = 0
    seconds: float = 0.0
    losses: list[dict[str, float]] = field(default_factory=list)


Step = Callable[[Patches], dict[str, float]]


def network_of(name: str, recipe: Recipe, dims: int) -> nn.Module:
    """The network of a generator, before any learning."""
    if name == "pix2pix":
        return InPainter(dims, recipe.base)
    if name == "vae":
        return AutoEncoder(dims, recipe.base, recipe.latents)
    return Denoiser(dims, recipe.base)


def learn(
    name: str,
    source: PatchSource,
    recipe: Recipe,
    budget: Budget,
    *,
    seed: int,
    device: torch.device,
    start: nn.Module | None = None,
    told: Callable[[float, dict[str, float]], None] = lambda part, losses: None,
) -> Learned:
    """Trains one generator within the budget; ``told(part of the budget, losses)`` is called along the way."""
    begun = time.monotonic()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = network_of(name, recipe, source.dims)
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(device, memory_format=_layout(source.dims))
    optimisers, step_of = _STEPS[name](network, recipe, device)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    learned = Learned(network=average)
    sums: dict[str, float] = {}
    for part in budget.parts():
        rate = min(1.0, 2 * (1 - part)) * min(1.0, (learned.steps + 1) / 50)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * max(rate, 0.02)
        for key, value in step_of(source.draw(recipe.batch, rng, wide=name == "vae")).items():
            sums[key] = sums.get(key, 0.0) + value / _LOSS_EVERY
        learned.steps += 1
        _average(average, network, learned.steps)
        if learned.steps % _LOSS_EVERY == 0:
            learned.losses.append({"step": learned.steps, **sums})
            told(part, sums)
            sums = {}
    learned.seconds = time.monotonic() - begun
    average.to("cpu")
    return learned


def _layout(dims: int) -> torch.memory_format:
    """Channels last is a fifth quicker on a CPU, and what CUDA's half precision likes."""
    return torch.channels_last if dims == 2 else torch.channels_last_3d


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, step: int) -> None:
    decay = min(_AVERAGE_DECAY, step / (10 + step))
    for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)


def _tensors(patches: Patches, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    values, hole = (torch.from_numpy(array).to(device) for array in (patches.values, patches.hole))
    contrast = torch.from_numpy(patches.contrast).to(device)
    return values, hole, contrast.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, parameters: list[nn.Parameter]) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 5.0)
    optimiser.step()


def _within(values: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """The mean absolute difference inside the hole, with a tenth of the weight on what is known."""
    weight = hole + 0.1 * (1 - hole)
    return ((values - target).abs() * weight).sum() / weight.sum()


def _squared(answers: Tensor, wanted: float, cells: Tensor) -> Tensor:
    """The squared error of the critic's answers, where there is something of the hole to judge."""
    return ((answers - wanted) ** 2 * cells).sum() / cells.sum().clamp(min=1.0)


def _pix2pix(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[list[torch.optim.Optimizer], Step]:
    """LSGAN (Mao et al. 2017) and ``l1_weight`` times L1, one step of the critic for one of the in-painter.

    The critic is asked about cells that hold some of the hole alone: elsewhere real and fake are the same.
    """
    dims = next(parameter.ndim for parameter in network.parameters() if parameter.ndim > 2) - 2
    pool = {2: max_pool2d, 3: max_pool3d}[dims]
    critic = Critic(dims, recipe.base).to(device, memory_format=_layout(dims))
    painting, judging = (
        torch.optim.Adam(module.parameters(), lr=recipe.learning_rate, betas=(0.5, 0.999))
        for module in (network, critic)
    )

    def step(patches: Patches) -> dict[str, float]:
        values, hole, contrast = _tensors(patches, device)
        painted = network(values * (1 - hole), hole, contrast, torch.randn_like(values))
        pasted = painted * hole + values * (1 - hole)
        cells = pool(hole, 4)
        real = _squared(critic(values, hole, contrast), 1.0, cells)
        fake = _squared(critic(pasted.detach(), hole, contrast), 0.0, cells)
        _descend(judging, (real + fake) / 2, list(critic.parameters()))
        critic.requires_grad_(False)
        adversarial = _squared(critic(pasted, hole, contrast), 1.0, cells)
        critic.requires_grad_(True)
        absolute = _within(painted, values, hole)
        _descend(painting, adversarial + recipe.l1_weight * absolute, list(network.parameters()))
        return {"l1": absolute.item(), "adversarial": adversarial.item(), "critic": (real + fake).item() / 2}

    return [painting, judging], step


def _vae(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[list[torch.optim.Optimizer], Step]:
    """L1 and a Kullback-Leibler term, small enough (1e-5) that fine texture is worth its latents."""
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)

    def step(patches: Patches) -> dict[str, float]:
        values, _, _ = _tensors(patches, device)
        mean, log_variance = network.encode(values)
        decoded = network.decode(mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance))
        absolute = l1_loss(decoded, values)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        _descend(optimiser, absolute + recipe.kl_weight * divergence, list(network.parameters()))
        return {"l1": absolute.item(), "kl": divergence.item()}

    return [optimiser], step


def _diffusion(network: nn.Module, recipe: Recipe, device: torch.device) -> tuple[list[torch.optim.Optimizer], Step]:
    """The velocity's squared error, inside the hole ten times as heavy (Ho et al. 2020; Salimans and Ho 2022)."""
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    levels = signal_levels().float().to(device)

    def step(patches: Patches) -> dict[str, float]:
        values, hole, contrast = _tensors(patches, device)
        times = torch.randint(TIMES, (len(values),), device=device)
        level = levels[times].reshape(-1, *[1] * (values.ndim - 1))
        clean, noise = values * DATA_SCALE, torch.randn_like(values)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        velocity = level.sqrt() * noise - (1 - level).sqrt() * clean
        error = (network(noisy, values * (1 - hole), hole, contrast, times / TIMES) - velocity) ** 2
        weight = hole + 0.1 * (1 - hole)
        loss = (error * weight).sum() / weight.sum()
        _descend(optimiser, loss, list(network.parameters()))
        return {"velocity": loss.item()}

    return [optimiser], step


_STEPS = {"pix2pix": _pix2pix, "vae": _vae, "diffusion": _diffusion}
