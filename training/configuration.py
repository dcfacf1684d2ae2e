"""A training configuration: one TOML file of about 25 lines, or one that names several to learn from together."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medfake_pacs.pixels.preprocess import Preprocessing
from training.sampling import SamplingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How long and how fast.

    ``phases`` are (part of the run, crop side in pixels), sides multiples of 32. ``steps`` ends a run after so many,
    0 leaves that to the time budget. ``top_positions`` cells are pooled to an image's logit.
    """

    pairs: int = 16
    phases: tuple[tuple[float, int], ...] = ((0.0, 96),)
    steps: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warm_up_steps: int = 50
    ema_decay: float = 0.995
    drop_rate: float = 0.1
    drop_path_rate: float = 0.05
    top_positions: int = 4
    cell_weight: float = 0.5
    validation_pairs: int = 60
    validation_px: int = 224
    validate_every_s: float = 420.0
    validate_every_steps: int = 0
    patience: int = 12
    data_workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One model: which data, which families of fakes, which input, how it is trained.

    ``tile_px`` and ``overlap_px`` are how a frame is cut when it is scored, multiples of 32. ``scale`` and
    ``requantise`` say how the source's own traces are taken away before anything is made of it: see
    ``training.provenance``.
    """

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
    cell_px: int = 16
    tile_px: int = 224
    overlap_px: int = 64
    scale: float = 1.0
    requantise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run learns from: one configuration, or several whose pairs are mixed in every batch.

    The members must agree on backbone, cells and number of input channels.
    """

    name: str
    seed: int
    members: tuple[Configuration, ...]
    training: TrainingSettings

    def __post_init__(self) -> None:
        for what in ("backbone", "cell_px"):
            if len({getattr(member, what) for member in self.members}) != 1:
                raise ValueError(f"{self.name}: the members differ in {what}")
        if len({len(member.preprocessing.channels) for member in self.members}) != 1:
            raise ValueError(f"{self.name}: the members differ in their number of input channels")


def read_configuration(path: Path) -> Configuration:
    """Reads a configuration.

    Raises: ValueError naming what is wrong with the file.
    """
    data = _toml(path)
    if "members" in data:
        raise ValueError(f"{path}: several models to learn from together; name one of {', '.join(data['members'])}")
    with _naming(path):
        return _configuration(data)


def read_plan(path: Path) -> Plan:
    """Reads what to train: a configuration, or a file with ``members``, names of configurations beside it.

    Raises: ValueError naming what is wrong with the file.
    """
    data = _toml(path)
    if "members" not in data:
        with _naming(path):
            configuration = _configuration(data)
        return Plan(
            name=configuration.name,
            seed=configuration.seed,
            members=(configuration,),
            training=configuration.training,
        )
    members = tuple(read_configuration(path.with_name(f"{name}.toml")) for name in data.pop("members"))
    with _naming(path):
        return Plan(**{**data, "training": _training(data["training"])}, members=members)


def _toml(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        return tomllib.load(handle)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns what a wrong or missing key leads to into a ValueError that names the file."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path}: {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _configuration(data: dict[str, Any]) -> Configuration:
    source = data.pop("preprocessing")
    sampling = {key: tuple(value) if isinstance(value, list) else value for key, value in data.pop("sampling").items()}
    training = _training(data.pop("training"))
    for key in ("pinned_to_test", "families", "held_out_families"):
        data[key] = tuple(data[key])
    both = set(data["families"]) & set(data["held_out_families"])
    if both:
        raise ValueError(f"{data['name']}: trained on and held out at once: {', '.join(sorted(both))}")
    return Configuration(
        **data,
        preprocessing=Preprocessing.from_mapping(source),
        preprocessing_source=source,
        sampling=SamplingSettings(**sampling),
        training=training,
    )


def _training(data: dict[str, Any]) -> TrainingSettings:
    phases = tuple((float(start), int(side)) for start, side in data.get("phases", [[0.0, 96]]))
    if phases[0][0] != 0 or any(side % 32 for _, side in phases):
        raise ValueError(f"phases begin at 0 and their sides are multiples of 32, not {phases}")
    return TrainingSettings(**{**data, "phases": phases})
