"""What somebody who waits for a run sees: a line or a bar of progress, TensorBoard's files, history.json."""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch.utils.tensorboard import SummaryWriter

from training.generators.store import write_atomically


class Watch:
    """Shows and records a run under ``output``; a bar on a terminal, plain lines elsewhere."""

    def __init__(self, output: Path, name: str) -> None:
        self._output = output
        self._writer = SummaryWriter(str(output / "tensorboard"))
        console = Console(file=sys.stdout)
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._bar = Bar(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(name, total=1.0, said="")
        self._plain = not console.is_terminal

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._writer.close()

    def step(self, step: int, part: float, elapsed_s: float, values: dict[str, float]) -> None:
        """Records the values of some steps: loss, learning rate, images a second, use of the GPU in percent."""
        for name, value in values.items():
            self._writer.add_scalar(f"training/{name}", value, step)
        said = f"step {step}  loss {values['loss']:.4f}  {values['images_per_s']:.1f} images/s"
        if "gpu_percent" in values:
            said += f"  GPU {values['gpu_percent']:.0f} %"
        self._bar.update(self._task, completed=min(part, 1.0), said=said)
        if self._plain:
            print(f"{elapsed_s:7.0f} s  {said}", flush=True)

    def validation(self, step: int, elapsed_s: float, values: dict[str, float], history: list[dict[str, Any]]) -> None:
        """Records a validation, and the history of all of them."""
        for name, value in values.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        write_atomically(self._output / "history.json", json.dumps(history, indent=1).encode())
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        self._bar.console.print(
            f"{elapsed_s:7.0f} s  step {step}  validation: {shown}", highlight=False, soft_wrap=True
        )


def gpu_percent(device: torch.device) -> float | None:
    """How busy the GPU is, in percent; None on a CPU or where its driver can't say."""
    if device.type != "cuda":
        return None
    try:
        return float(torch.cuda.utilization(device))
    except (ModuleNotFoundError, RuntimeError):
        return None
