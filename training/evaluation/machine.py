"""What a run was made on and with: machine, versions, digests."""

import hashlib
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from training.datasets import Sample
from training.setting import Setting
from training.split import patients

_PACKAGES = ("torch", "timm", "openvino", "numpy", "scipy")


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system and versions, as plain data."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * size / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def today() -> str:
    """The time now, UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def data_digest(parts: Iterable[Sequence[Sample]]) -> str:
    """SHA-256 over names, patients and pixel values of every sample of every part, in the order of their names."""
    whole = hashlib.sha256()
    for samples in parts:
        lines = sorted(f"{sample.name}\0{sample.patient}\0{_pixels(sample)}" for sample in samples)
        whole.update("\n".join(lines).encode())
        whole.update(b"\0part\0")
    return whole.hexdigest()


def _pixels(sample: Sample) -> str:
    return sample.sha256 or hashlib.sha256(np.ascontiguousarray(sample.image).tobytes()).hexdigest()


def split_sizes(setting: Setting) -> dict[str, dict[str, int]]:
    """Images and patients of each part of the split."""
    parts = {"train": setting.split.train, "validation": setting.split.validation, "test": setting.split.test}
    return {name: {"images": len(samples), "patients": len(patients(samples))} for name, samples in parts.items()}
