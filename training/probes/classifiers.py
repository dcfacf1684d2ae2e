"""Small classifiers with few ways to be wrong, scored on patients that they were not fitted to."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.probes.pairs import Item
from training.probes.result import Scores

Values = npt.NDArray[np.float64]
_FOLDS = 5
_REPEATS = 3


def forest(seed: int):  # type: ignore[no-untyped-def]
    """Boosted trees of eight leaves: thresholds and interactions of a handful of facts; missing facts are facts."""
    return HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.2, max_leaf_nodes=8, min_samples_leaf=10, random_state=seed
    )


def linear(seed: int):  # type: ignore[no-untyped-def]
    """Logistic regression on the pixels of a small picture, held down hard: there are more pixels than pictures."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000, random_state=seed))


def cross_validated(items: Sequence[Item], values: Values, model, seed: int) -> list[Scores]:  # type: ignore[no-untyped-def]
    """The scores of all items, each by a model (made by ``model(seed)``) that saw no image of its patient.

    Three times, with other partitions of the patients. Raises: ValueError where there are fewer than two patients.
    """
    return [_once(items, values, model, seed + number) for number in range(_REPEATS)]


def _once(items: Sequence[Item], values: Values, model, seed: int) -> Scores:  # type: ignore[no-untyped-def]
    patients = np.array([item.patient for item in items])
    fake = np.array([item.fake for item in items])
    score = np.zeros(len(items))
    folds = GroupKFold(min(_FOLDS, len(set(patients.tolist()))), shuffle=True, random_state=seed)
    for fitted, held in folds.split(values, fake, patients):
        if len(set(fake[fitted].tolist())) == 2:
            score[held] = model(seed).fit(values[fitted], fake[fitted]).predict_proba(values[held])[:, 1]
    return scores_of(items, score.tolist())


def scores_of(items: Sequence[Item], score: Sequence[float]) -> Scores:
    """Scores sorted by class."""
    real, fake = ([at for at, item in enumerate(items) if item.fake is kind] for kind in (False, True))
    return Scores(
        real=[score[at] for at in real],
        real_patients=[items[at].patient for at in real],
        fake=[score[at] for at in fake],
        fake_patients=[items[at].patient for at in fake],
    )
