"""The torch engine: CUDA, or a CPU without OpenVINO."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from medfake_pacs.classifier.bundle import DOMAIN_PREFIX, Bundle
from medfake_pacs.classifier.network import Network, build
from medfake_pacs.errors import BundleError

_BATCH = 8


def network_of(bundle: Bundle) -> Network:
    """The bundle's network on the CPU, float32, in evaluation mode.

    Raises: BundleError when the weights don't fit the card's network.
    """
    state = {
        name: torch.from_numpy(np.array(value))
        for name, value in bundle.tensors().items()
        if not name.startswith(DOMAIN_PREFIX)
    }
    try:
        card = bundle.card.network
        return build(card.in_channels, card.backbone, card.cell_px, state)
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{bundle.weights_path}: {error}") from error


class TorchEngine:
    """Runs tiles in batches of eight; float32 on a CPU, bfloat16 on CUDA."""

    def __init__(self, bundle: Bundle, *, device: str, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._network = network_of(bundle).to(self._device, memory_format=torch.channels_last)
        self._side = bundle.card.tile.size // bundle.card.network.cell_px
        self.name = f"torch-{device}"

    @torch.inference_mode()
    def run(self, tiles: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Logits (N, T/cell, T/cell) of tiles (C, T, T)."""
        parts = [np.empty((0, self._side, self._side), np.float32)]
        remaining = iter(tiles)
        while batch := list(islice(remaining, _BATCH)):
            pixels = torch.from_numpy(np.stack(batch)).to(self._device, memory_format=torch.channels_last)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                parts.append(self._network(pixels).float().cpu().numpy())
        return np.concatenate(parts)
