"""The generators' networks and learning in three dimensions, on a volume that is made up."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from training.forge.diffusion import DATA_SCALE, sample
from training.generators.learning import RECIPES, Budget, learn
from training.generators.networks import AutoEncoder, Critic, Denoiser, InPainter
from training.generators.patches import PatchSource

SIDE = 16


def volume() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (gaussian_filter(rng.normal(0, 1, (40, 44, 48)), 2) * 3000 - 500).astype(np.float32)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_network_keeps_the_patch_s_shape(dims: int) -> None:
    patch = torch.randn(2, 1, *[SIDE] * dims)
    assert InPainter(dims, 16)(patch, patch, patch, patch).shape == patch.shape
    assert Denoiser(dims, 16)(patch, patch, patch, patch, torch.tensor([0.1, 0.9])).shape == patch.shape
    assert Critic(dims, 16)(patch, patch, patch).shape == (2, 1, *[SIDE // 4] * dims)
    network = AutoEncoder(dims, 16, 6)
    mean, log_variance = network.encode(patch)
    assert mean.shape == log_variance.shape == (2, 6, *[SIDE // 4] * dims)
    assert network.decode(mean).shape == patch.shape


def test_cubes_have_holes_and_what_is_dense_in_the_middle_has_contrast() -> None:
    cube = np.full((SIDE, SIDE, SIDE), -800, np.float32)
    cube[5:11, 5:11, 5:11] = 0
    source = PatchSource([cube], ["p"], patch_px=SIDE, hounsfield=True)
    assert source.dims == 3
    patches = source.draw(6, np.random.default_rng(1))
    assert patches.values.shape == patches.hole.shape == (6, 1, SIDE, SIDE, SIDE)
    assert 0.01 < patches.hole.mean() < 0.3
    assert (patches.contrast > 0.4).all()


@pytest.mark.parametrize("name", ["pix2pix", "vae", "diffusion"])
def test_each_learns_from_a_volume(name: str) -> None:
    source = PatchSource([volume()], ["p"], patch_px=SIDE, hounsfield=True)
    learned = learn(name, source, RECIPES[name], Budget(steps=2), seed=1, device=torch.device("cpu"))
    assert learned.steps == 2
    assert all(torch.isfinite(value).all() for value in learned.network.state_dict().values())


def test_a_cube_is_sampled_by_diffusion() -> None:
    known = torch.zeros(1, 1, SIDE, SIDE, SIDE)
    network = Denoiser(3, 16).eval()
    with torch.inference_mode():
        first, again = (
            sample(network, known, known, 0.0, torch.Generator().manual_seed(3), steps=3, eta=0.3) for _ in range(2)
        )
    assert first.shape == known.shape
    assert torch.equal(first, again)


def test_diffusion_with_a_perfect_denoiser_returns_the_data() -> None:
    """For data that are zero, v = √ᾱ ε and noise = √(1-ᾱ) ε: the velocity is known from the noisy patch."""
    from training.forge.diffusion import TIMES, signal_levels

    levels = signal_levels()

    def network(noisy, known, hole, contrast, time):
        level = levels[(time[0] * TIMES).round().long()].float()
        return noisy * (level / (1 - level)) ** 0.5

    known = torch.zeros(1, 1, 8, 8)
    result = sample(network, known, known, 0.0, torch.Generator().manual_seed(1), steps=20, eta=0.5)
    assert result.abs().max() < 1e-2


@pytest.mark.parametrize("dims", [2, 3])
def test_diffusion_may_start_from_a_filling_that_continues_what_is_known(dims: int) -> None:
    hole = torch.zeros(1, 1, *[SIDE] * dims)
    hole[(..., *[slice(5, 11)] * dims)] = 1
    starts = []

    def network(noisy, known, hole, contrast, time):
        starts.append((float(time[0]), noisy))
        return torch.zeros_like(noisy)

    for contrast in (0.0, 0.5):
        first = len(starts)
        generator = torch.Generator().manual_seed(1)
        result = sample(network, 0.3 * (1 - hole), hole, contrast, generator, steps=30, eta=0, start=0.05)
        assert torch.isfinite(result).all()
        assert starts[first][0] == pytest.approx(0.049)
        middle = starts[first][1][(..., *[slice(7, 9)] * dims)].mean() / DATA_SCALE
        assert middle == pytest.approx(0.3 + contrast, abs=0.12)
