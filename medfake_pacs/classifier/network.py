"""The networks: timm's EfficientNet-B4 that answers for every cell of the image instead of once.

The only module besides ``timm_compat`` that imports timm. Input (N, C, H, W), output (N, H/cell, W/cell)
logits; above zero leans to fake.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, silu

from medfake_pacs.classifier.timm_compat import timm

COARSE_PX, FINE_PX = 32, 16
_WIDTH = 64


class _CellClassifier(nn.Module):
    """A backbone, and one linear classifier for the features of every cell; what lies between is a subclass' own."""

    cell_px: int

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
        width = self._add_layers()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Conv2d(width, 1, kernel_size=1)
        initialise(self)

    def _add_layers(self) -> int:
        """Adds the layers between backbone and classifier; how many features each cell has after them."""
        raise NotImplementedError


class DenseClassifier(_CellClassifier):
    """A backbone and one linear classifier shared by all positions of its last map: cells of 32 px."""

    cell_px = COARSE_PX

    def _add_layers(self) -> int:
        width: int = self.backbone.num_features
        return width

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, ceil(H/32), ceil(W/32))."""
        return self.classifier(self.dropout(self.backbone.forward_features(pixels)))[:, 0]


class LocalisingClassifier(_CellClassifier):
    """A backbone whose maps of strides 4 to 32 are brought together at stride 16: cells of 16 px.

    What an edit leaves behind (its rim, its noise, its grid) is in the early maps, what belongs in the image in
    the late ones; a feature pyramid (Lin et al., CVPR 2017) reduced to one level reads both. Sides must be
    multiples of 32.
    """

    cell_px = FINE_PX

    def _add_layers(self) -> int:
        early = [info for info in self.backbone.feature_info if info["reduction"] in (4, 8, 16)]
        self._taken = tuple(int(info["module"].removeprefix("blocks.")) for info in early)
        channels = [info["num_chs"] for info in early]
        self.from4 = nn.Conv2d(channels[0], _WIDTH, 3, stride=2, padding=1, bias=False)
        self.norm4 = nn.BatchNorm2d(_WIDTH)
        self.from8 = nn.Conv2d(channels[1], _WIDTH, 3, stride=2, padding=1, bias=False)
        self.from16 = nn.Conv2d(channels[2], _WIDTH, 1, bias=False)
        self.from32 = nn.Conv2d(self.backbone.num_features, _WIDTH, 1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTH)
        self.mix = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False)
        self.mixed = nn.BatchNorm2d(_WIDTH)
        return _WIDTH

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, H/16, W/16)."""
        at4, at8, at16, at32 = self._maps(pixels)
        early = avg_pool2d(silu(self.norm4(self.from4(at4))), 2) + self.from8(at8)
        late = interpolate(self.from32(at32), size=at16.shape[2:], mode="nearest")
        together = silu(self.norm(early + self.from16(at16) + late))
        return self.classifier(self.dropout(silu(self.mixed(self.mix(together)))))[:, 0]

    def _maps(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The backbone's maps at strides 4, 8, 16 and 32."""
        net = self.backbone
        features = net.bn1(net.conv_stem(pixels))
        maps = []
        for number, stage in enumerate(net.blocks):
            features = stage(features)
            if number in self._taken:
                maps.append(features)
        last = net.bn2(net.conv_head(features))
        return maps[0], maps[1], maps[2], last


Network = DenseClassifier | LocalisingClassifier


def initialise(network: Network) -> None:
    """Zeroes the classifier, and the last gain of blocks that have a skip.

    A block without a skip whose last gain is zero puts out zero for ever, so those are left alone.
    """
    nn.init.zeros_(network.classifier.weight)
    nn.init.zeros_(network.classifier.bias)
    for block in network.backbone.modules():
        if getattr(block, "has_skip", False) and hasattr(block, "bn3"):
            nn.init.zeros_(block.bn3.weight)


def network_class(cell_px: int) -> type[DenseClassifier] | type[LocalisingClassifier]:
    """The network whose cells have that side.

    Raises: ValueError for any other side than 16 or 32.
    """
    for kind in (DenseClassifier, LocalisingClassifier):
        if kind.cell_px == cell_px:
            return kind
    raise ValueError(f"no network has cells of {cell_px} px")


def build(in_channels: int, backbone: str, cell_px: int, state: dict[str, Tensor] | None = None) -> Network:
    """The network for scoring, in evaluation mode, float32, with ``state`` loaded strictly."""
    network = network_class(cell_px)(in_channels, backbone=backbone)
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
