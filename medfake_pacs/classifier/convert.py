"""Converts a bundle for OpenVINO: ``python -m medfake_pacs.classifier.convert BUNDLE DIRECTORY``."""

import shutil
import sys
import tempfile
from pathlib import Path

import openvino as ov
import torch

from medfake_pacs.classifier.bundle import Bundle, load_bundle
from medfake_pacs.classifier.engine_torch import network_of


def convert(bundle: Bundle, directory: Path) -> None:
    """Writes model.xml and model.bin into ``directory``, which appears whole or not at all."""
    side = bundle.card.tile.size
    example = torch.zeros(1, bundle.card.network.in_channels, side, side)
    with torch.inference_mode():
        model = ov.convert_model(network_of(bundle), example_input=example, input=list(example.shape))
    temporary = Path(tempfile.mkdtemp(prefix=".converting-", dir=directory.parent))
    try:
        ov.save_model(model, temporary / "model.xml", compress_to_fp16=True)
        try:
            temporary.rename(directory)
        except OSError:
            # Another process was faster; its result is the same.
            if not (directory / "model.xml").exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    convert(load_bundle(sys.argv[1]), Path(sys.argv[2]))
