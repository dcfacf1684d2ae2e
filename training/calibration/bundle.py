"""Calibration of a bundle that was just exported, on validation patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from medfake_pacs.classifier import load_bundle
from training.calibration.fitting import ALPHA, Fitted, ScoredImage, fit
from training.evaluation.conditions import Condition, grid
from training.evaluation.rows import CLEAN
from training.export import read_card, write_card

FORMAT = 2
VALIDATION_SEED = 101
# What archives do to images, from hardly visible to the most that guidelines allow.
CODECS = ("JPEG q90", "JPEG q70", "J2K 5:1", "J2K 10:1")


class RowScorer(Protocol):
    """What scores the validation patients: ``training.evaluation.scoring.Scorer``."""

    def rows(self, part: str, *, seed: int) -> Sequence[ScoredImage]:
        """Every sample of a part, clean and with one fake of each family."""
        ...

    def grid(self, part: str, conditions: Sequence[Condition], *, seed: int, images: int) -> Sequence[ScoredImage]:
        """Samples of a part, clean and one fake each, under every condition."""
        ...


def calibrate(
    scorer: RowScorer,
    bundle: Path,
    *,
    families: Sequence[str],
    hounsfield: bool,
    rounds: int = 1,
    alpha: float = ALPHA,
) -> Fitted:
    """Sets calibration and strata of a bundle's card from ``rounds`` draws of validation fakes; test patients have no
    part in it.

    Raises: ValueError where there are too few validation images.
    """
    rows: list[ScoredImage] = list(scorer.rows("validation", seed=VALIDATION_SEED))
    for number in range(1, rounds):
        drawn = scorer.rows("validation", seed=VALIDATION_SEED + number)
        rows += [_Numbered(row, number) for row in drawn if row.family != CLEAN]
    conditions = [condition for condition in grid(hounsfield=hounsfield) if condition.name in CODECS]
    rows += scorer.grid("validation", conditions, seed=VALIDATION_SEED, images=0)
    card = read_card(bundle)
    fitted = fit(rows, families=families, contiguous=card["pooling"]["contiguous_k"], alpha=alpha)
    write(bundle, fitted)
    return fitted


def write(bundle: Path, fitted: Fitted) -> None:
    """Writes what was fitted into a bundle's card and checks that the bundle can still be read.

    Raises: BundleError where it can't.
    """
    card = read_card(bundle)
    card.pop("thresholds", None)
    changed = {"format": FORMAT, **fitted.as_mapping()}
    # In the place of what was there, so that a reader finds the keys in the order of the other cards.
    write_card(bundle, {key: changed.pop(key, value) for key, value in card.items()} | changed)
    load_bundle(bundle)


class _Numbered:
    """A row of a further draw: a fake of its own, not another codec's view of the first."""

    def __init__(self, row: ScoredImage, number: int) -> None:
        self.name = f"{row.name}#{number}"
        self.patient, self.series, self.position = row.patient, row.series, row.position
        self.family, self.codec, self.lossy = row.family, row.codec, row.lossy
        self.score, self.outside = row.score, row.outside
