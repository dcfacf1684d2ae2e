"""The network: timm's EfficientNet-B4 whose classifier is applied at every position of the last map.

The only module besides ``timm_compat`` that imports timm. Input (N, C, H, W), output (N, H/32, W/32)
logits; above zero leans to fake.
"""

import torch
from torch import Tensor, nn

from medfake_pacs.classifier.timm_compat import timm

STRIDE = 32


class DenseClassifier(nn.Module):
    """A backbone and one linear classifier shared by all positions: a map of logits instead of one."""

    def __init__(
        self,
        in_channels: int,
        *,
        backbone: str = "efficientnet_b4",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            backbone, pretrained=False, in_chans=in_channels, num_classes=0, drop_path_rate=drop_path_rate
        )
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Conv2d(self.backbone.num_features, 1, kernel_size=1)
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, ceil(H/32), ceil(W/32))."""
        return self.classifier(self.dropout(self.backbone.forward_features(pixels)))[:, 0]


def initialise(network: DenseClassifier) -> None:
    """Zeroes the classifier, and the last gain of blocks that have a skip.

    A block without a skip whose last gain is zero puts out zero for ever, so those are left alone.
    """
    nn.init.zeros_(network.classifier.weight)
    nn.init.zeros_(network.classifier.bias)
    for block in network.backbone.modules():
        if getattr(block, "has_skip", False) and hasattr(block, "bn3"):
            nn.init.zeros_(block.bn3.weight)


def build(in_channels: int, backbone: str, state: dict[str, Tensor] | None = None) -> DenseClassifier:
    """The network for scoring, in evaluation mode, float32, with ``state`` loaded strictly."""
    network = DenseClassifier(in_channels, backbone=backbone)
    if state is not None:
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        )
    return network.eval().requires_grad_(False)


def inference_device(requested: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU."""
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(requested)
