"""The hand-made baseline: logistic regression on residual statistics of windows, the highest windows pooled."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from training.baselines.residuals import BLOCK_PX, describe
from training.baselines.turns import in_turn
from training.setting import Setting

Array = npt.NDArray[np.float32]
NAME = "residual statistics"
_WEIGHTS, _ABOUT = "residual-statistics.npz", "residual-statistics.json"
_TOP_WINDOWS = 4
_WINDOWS_OF_EACH = 12
_EDITED_SHARE = 0.35
_MOST_PIXELS = 32_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualStatistics:
    """The fitted detector; ``mean``, ``scale`` and ``weight`` are (F,) float64."""

    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    intercept: float
    name: str = NAME

    def score(self, images: Sequence[Array]) -> list[float]:
        """The mean of the four highest windows of each image (H, W) float32, as a logit."""
        return [self._score(image) for image in images]

    def _score(self, image: Array) -> float:
        windows = describe(image)
        values = windows.reshape(-1, windows.shape[-1]).astype(np.float64)
        logits = ((values - self.mean) / self.scale) @ self.weight + self.intercept
        return float(np.sort(logits)[-_TOP_WINDOWS:].mean())

    def save(self, directory: Path) -> None:
        """Writes the numbers (npz, no objects) and what they are (JSON)."""
        directory.mkdir(parents=True, exist_ok=True)
        np.savez(
            directory / _WEIGHTS,
            mean=self.mean,
            scale=self.scale,
            weight=self.weight,
            intercept=np.array(self.intercept),
        )
        about = {"name": self.name, "features": int(self.weight.size), "top_windows": _TOP_WINDOWS}
        (directory / _ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def load_residual_statistics(directory: Path) -> ResidualStatistics:
    """The detector that was saved in a folder.

    Raises: FileNotFoundError or ValueError where the files are missing or of another version.
    """
    about = json.loads((directory / _ABOUT).read_text(encoding="utf-8"))
    with np.load(directory / _WEIGHTS, allow_pickle=False) as stored:
        values = {name: stored[name] for name in ("mean", "scale", "weight")}
        intercept = float(stored["intercept"])
    if about["top_windows"] != _TOP_WINDOWS or values["weight"].size != about["features"]:
        raise ValueError(f"{directory}: a hand-made baseline of another version; fit it again")
    return ResidualStatistics(**values, intercept=intercept, name=about["name"])


def fit_residual_statistics(
    setting: Setting, seed: int = 0, images: int = 400, *, output: Path | None = None
) -> ResidualStatistics:
    """Fits on at most ``images`` pairs of a training image and a fake of it, families trained on in turn.

    Fewer where the images are large: 32 million pixels in all, which keeps it within three minutes on one core.
    Windows of which the edit covers 35 % or more are fakes, the same windows of the original are real, as are
    others of it. Deterministic. ``output``: a folder to save to.

    Raises: ValueError where there is no family to fit on.
    """
    families = setting.available(setting.configuration.families)
    if not families:
        raise ValueError("no family to fit the hand-made baseline on")
    rng = np.random.default_rng((seed, 7))
    sampler, samples = setting.sampler("train"), setting.split.train
    values: list[Array] = []
    labels: list[npt.NDArray[np.bool_]] = []
    count = max(1, min(images, _MOST_PIXELS // max(sample.image.size for sample in samples)))
    chosen = in_turn([sample.patient for sample in samples], count, rng)
    for order in range(count):
        number = chosen[order % len(chosen)]
        made = sampler.families_for(number, families) or families
        edit = sampler.forge_image(number, made[order % len(made)], rng)
        for part, fake in _windows_of(samples[number].image, edit.image, edit.mask, rng):
            values.append(part)
            labels.append(np.full(len(part), fake))
    detector = _fitted(np.concatenate(values).astype(np.float64), np.concatenate(labels))
    if output is not None:
        detector.save(output)
    return detector


def _windows_of(real: Array, fake: Array, mask: Array, rng: np.random.Generator) -> list[tuple[Array, bool]]:
    """Some windows (N, F) of a pair: edited ones, the same of the original, and others of the original."""
    seen = (mask > 0.5).astype(np.float32)
    rows, columns = (size // BLOCK_PX for size in seen.shape)
    blocks = seen[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX).mean(axis=(1, 3))
    share = (blocks[:-1, :-1] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[1:, 1:]) / 4
    edited = (
        np.flatnonzero(share.ravel() >= min(_EDITED_SHARE, float(share.max()))) if share.any() else np.array([], int)
    )
    chosen = rng.permutation(edited)[:_WINDOWS_OF_EACH]
    others = rng.permutation(share.size)[:_WINDOWS_OF_EACH]
    ours, theirs = (describe(image).reshape(share.size, -1) for image in (real, fake))
    return [(theirs[chosen], True), (ours[chosen], False), (ours[others], False)]


def _fitted(values: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]) -> ResidualStatistics:
    scaler = StandardScaler().fit(values)
    model = LogisticRegression(C=0.02, max_iter=500, class_weight="balanced").fit(scaler.transform(values), labels)
    return ResidualStatistics(
        mean=scaler.mean_, scale=scaler.scale_, weight=model.coef_[0], intercept=float(model.intercept_[0])
    )
