"""The quick gradients of depthwise convolutions are the library's."""

import pytest
import torch
from torch import nn

from training.depthwise import replace_depthwise


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(2, 5, 1), (4, 3, 2), (3, 3, 1), (12, 5, 2), (9, 3, 1), (7, 5, 2)]
)
def test_gradients_are_those_of_the_library(side: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, stride=stride, padding=kernel // 2, groups=6, bias=False)
    quick = nn.Conv2d(6, 6, kernel, stride=stride, padding=kernel // 2, groups=6, bias=False)
    quick.load_state_dict(plain.state_dict())
    assert replace_depthwise(quick) == 1
    results = []
    for module in (plain, quick):
        pixels = torch.randn(3, 6, side, side, generator=torch.Generator().manual_seed(1), requires_grad=True)
        output = module(pixels)
        (output * torch.arange(output.numel()).reshape(output.shape).cos()).sum().backward()
        results.append((output, pixels.grad, module.weight.grad))
    for theirs, ours in zip(*results, strict=True):
        assert torch.allclose(theirs, ours, atol=1e-4)


def test_other_convolutions_are_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=4))
    assert replace_depthwise(network) == 0
