"""A training configuration: one TOML file of about 25 lines."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medfake_pacs.pixels.preprocess import Preprocessing
from training.sampling import SamplingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How long and how fast; ``phases`` are (part of the budget, crop side in pixels)."""

    pairs: int = 16
    phases: tuple[tuple[float, int], ...] = ((0.0, 96),)
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warm_up_steps: int = 50
    ema_decay: float = 0.99
    drop_rate: float = 0.2
    drop_path_rate: float = 0.1
    top_positions: int = 9
    cell_weight: float = 0.5
    validation_pairs: int = 60
    validation_px: int = 224
    validate_every_s: float = 420.0
    patience: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One model: which data, which families of fakes, which input, how it is trained."""

    name: str
    modality: str
    reader: str
    folder: str
    seed: int
    pinned_to_test: tuple[str, ...]
    backbone: str
    families: tuple[str, ...]
    held_out_families: tuple[str, ...]
    preprocessing: Preprocessing
    preprocessing_source: dict[str, Any]
    sampling: SamplingSettings
    training: TrainingSettings


def read_configuration(path: Path) -> Configuration:
    """Reads a configuration.

    Raises: ValueError or TypeError naming what is wrong with the file.
    """
    with path.open("rb") as handle:
        data = tomllib.load(handle)
    source = data.pop("preprocessing")
    sampling = {key: tuple(value) if isinstance(value, list) else value for key, value in data.pop("sampling").items()}
    training = data.pop("training")
    training["phases"] = tuple((float(start), int(side)) for start, side in training.get("phases", [[0.0, 96]]))
    for key in ("pinned_to_test", "families", "held_out_families"):
        data[key] = tuple(data[key])
    return Configuration(
        **data,
        preprocessing=Preprocessing.from_mapping(source),
        preprocessing_source=source,
        sampling=SamplingSettings(**sampling),
        training=TrainingSettings(**training),
    )
