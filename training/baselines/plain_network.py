"""The plain baseline: EfficientNet on the whole image at 224 px, from scratch, told the image's label alone.

Source: the usual way of the papers on medical deepfakes (EfficientNet-B4, 224 px, Adam, rotation, flip, zoom,
brightness and contrast). Same patients, same families and the same forge as the model that it is compared with.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medfake_pacs.classifier.network import inference_device
from medfake_pacs.classifier.timm_compat import timm
from medfake_pacs.pixels.preprocess import Preprocessing
from training.baselines.plain_input import Bytes, as_input, small, window_of

Array = npt.NDArray[np.float32]
NAME = "plain 224-px B4"
WEIGHTS, ABOUT = "plain224.safetensors", "plain224.json"
_CHUNK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the JSON file beside the weights says: how to load them, and how they came about."""

    name: str
    backbone: str
    preprocessing: dict[str, Any]
    families: list[str]
    seed: int
    steps: int = 0
    best_step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    device: str = ""
    best_auc: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class Plain224:
    """The detector that was trained; scores are logits."""

    def __init__(self, network: nn.Module, about: About, device: torch.device) -> None:
        self.name = about.name
        self.about = about
        self._network = network.to(device).eval().requires_grad_(False)
        self._device = device
        self._window = window_of(Preprocessing.from_mapping(about.preprocessing))

    def score(self, images: Sequence[Array]) -> list[float]:
        """One logit for each image (H, W) float32 in modality units, higher means fake."""
        result: list[float] = []
        for start in range(0, len(images), _CHUNK):
            chunk = np.stack([small(image, self._window) for image in images[start : start + _CHUNK]])
            result += score_small(self._network, chunk, self._device)
        return result


def score_small(network: nn.Module, images: Bytes, device: torch.device) -> list[float]:
    """Logits of images (N, 224, 224) uint8; the network must be in evaluation mode."""
    with torch.inference_mode():
        pixels = as_input(images).to(device, memory_format=torch.channels_last)
        return [float(value) for value in logits_of(network, pixels).cpu()]


def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """(N, 1, S, S) to logits (N,) float32: the features in bfloat16, the last layer in full."""
    with torch.autocast(pixels.device.type, torch.bfloat16):
        features = network.forward_head(network.forward_features(pixels), pre_logits=True)
    return network.get_classifier()(features.float())[:, 0]


def new_network(backbone: str) -> nn.Module:
    """A network of one channel and one logit, from scratch.

    The classifier starts at zero, and so does the last gain of blocks that have a skip, as in the model compared.
    """
    network: nn.Module = timm.create_model(backbone, pretrained=False, in_chans=1, num_classes=1)
    classifier = network.get_classifier()
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    for block in network.modules():
        if getattr(block, "has_skip", False) and hasattr(block, "bn3"):
            nn.init.zeros_(block.bn3.weight)
    return network


def write_weights(directory: Path, state: dict[str, Tensor]) -> None:
    """Writes the weights and puts them in their place whole."""
    temporary = directory / f".{WEIGHTS}"
    save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary)
    temporary.replace(directory / WEIGHTS)


def write_about(directory: Path, about: About) -> None:
    """Writes the JSON file and puts it in its place whole."""
    temporary = directory / f".{ABOUT}"
    temporary.write_text(json.dumps(asdict(about), indent=1) + "\n", encoding="utf-8")
    temporary.replace(directory / ABOUT)


def load_plain224(directory: Path, *, device: str = "auto", threads: int = 0) -> Plain224:
    """The detector that a training left in a folder; nothing is trained.

    Raises: FileNotFoundError, ValueError or TypeError where the files are missing or not of this kind.
    """
    if threads:
        torch.set_num_threads(threads)
    about = About(**json.loads((directory / ABOUT).read_text(encoding="utf-8")))
    network = new_network(about.backbone)
    network.load_state_dict(load_file(directory / WEIGHTS))
    return Plain224(network, about, inference_device(device))
