"""Which engine runs a bundle: OpenVINO on a CPU, torch for CUDA and where OpenVINO can't."""

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from medfake_pacs.classifier.bundle import Bundle
from medfake_pacs.errors import BundleError

if TYPE_CHECKING:
    from medfake_pacs.classifier.scoring import Engine

DEVICES = ("auto", "cpu", "torch-cpu", "cuda")
_LOG = logging.getLogger(__name__)


def open_engine(bundle: Bundle, *, device: str, threads: int, cache_dir: Path) -> "Engine":
    """Opens the engine for a device; torch and OpenVINO are imported only where they are used.

    Raises: BundleError when the device is unknown or the weights don't fit the network.
    """
    if device not in DEVICES:
        raise BundleError(f"device {device!r} is not one of {', '.join(DEVICES)}")
    if device == "cuda" or (device == "auto" and _has_cuda()):
        return _torch_engine(bundle, "cuda", threads)
    if device == "torch-cpu" or importlib.util.find_spec("openvino") is None:
        return _torch_engine(bundle, "cpu", threads)
    from medfake_pacs.classifier.engine_openvino import ConversionError, OpenVinoEngine

    try:
        return OpenVinoEngine(bundle, threads=threads, cache_dir=cache_dir)
    except ConversionError as error:
        _LOG.warning("OpenVINO can't run %s, torch does: %s", bundle.card.name, error)
        return _torch_engine(bundle, "cpu", threads)


def _torch_engine(bundle: Bundle, device: str, threads: int) -> "Engine":
    from medfake_pacs.classifier.engine_torch import TorchEngine

    return TorchEngine(bundle, device=device, threads=threads)


def _has_cuda() -> bool:
    """Whether this machine has an NVIDIA device at all; asking torch would cost its import."""
    if not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")):
        return False
    import torch

    return torch.cuda.is_available()
