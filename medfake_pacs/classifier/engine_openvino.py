"""The OpenVINO engine: the CPU's way.

The torch module is converted once, in a process of its own, so that the worker never imports torch. What it
leaves in the cache is keyed by all that it depends on: the digest of the weights, that of the card's network and tile,
and OpenVINO's version; compiled blobs are beside it.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov

from medfake_pacs.classifier.bundle import Bundle
from medfake_pacs.classifier.child import child_environment
from medfake_pacs.errors import BundleError

_CONVERSION_TIMEOUT_S = 600


class ConversionError(BundleError):
    """The network could not be converted or compiled for this machine."""


class OpenVinoEngine:
    """A compiled model with static shape (1, C, T, T) and as many requests in flight as the device wants."""

    def __init__(self, bundle: Bundle, *, threads: int, cache_dir: Path) -> None:
        core = ov.Core()
        bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options: dict[str, object] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "CACHE_DIR": str(cache_dir / "compiled"),
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(str(converted(bundle, cache_dir)), "CPU", options)
        except RuntimeError as error:
            raise ConversionError(str(error)) from error
        self._side = bundle.card.tile.size // bundle.card.network.cell_px
        self.name = "openvino-bf16" if bf16 else "openvino-f32"

    def run(self, tiles: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Logits (N, T/cell, T/cell) of tiles (C, T, T); draws the next tile as soon as a request is free."""
        results: dict[int, npt.NDArray[np.float32]] = {}

        def keep(request: ov.InferRequest, number: int) -> None:
            results[number] = request.get_output_tensor().data[0].copy()

        queue = ov.AsyncInferQueue(self._compiled)
        queue.set_callback(keep)
        for number, tile in enumerate(tiles):
            queue.start_async({0: tile[None]}, number)
        queue.wait_all()
        if not results:
            return np.empty((0, self._side, self._side), np.float32)
        return np.stack([results[number] for number in range(len(results))])


def converted(bundle: Bundle, cache_dir: Path) -> Path:
    """The converted model's .xml in the cache, made where it is missing.

    Raises: ConversionError with the last line of what the conversion said.
    """
    directory = cache_dir / _folder_name(bundle)
    path = directory / "model.xml"
    if path.exists():
        return path
    cache_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "medfake_pacs.classifier.convert", str(bundle.directory), str(directory)]
    try:
        done = subprocess.run(
            command, env=child_environment(), capture_output=True, text=True, timeout=_CONVERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConversionError(str(error)) from error
    if done.returncode or not path.exists():
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise ConversionError(lines[-1])
    return path


def _folder_name(bundle: Bundle) -> str:
    card = bundle.card
    parts = {"network": asdict(card.network), "tile": asdict(card.tile)}
    shape = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    version = ov.__version__.replace("/", "-")
    return f"{card.weights_sha256[:32]}-{shape[:16]}-openvino-{version}"
