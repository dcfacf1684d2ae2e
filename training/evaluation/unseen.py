"""What of a data set with fakes of its own no model can have seen: by patients' names, and by the images themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.datasets import Sample
from training.datasets.overlap import alike
from training.evaluation.rows import is_cleaned
from training.setting import Setting


def unseen(setting: Setting, brought: Mapping[str, Sequence[Sample]]) -> dict[str, list[Sample]]:
    """What of some data sets belongs to nobody whom the model was trained or calibrated on.

    A patient is known by name, or by any image that is nearly one of the training or validation part: the same images
    are published under other names, in other sizes and encodings.
    """
    if not brought:
        return {}
    known = [sample for sample in (*setting.split.train, *setting.split.validation) if not is_cleaned(sample.name)]
    names, images = {sample.patient for sample in known}, [sample.image for sample in known]
    left = {}
    for source, samples in brought.items():
        again = alike([sample.image for sample in samples], images)
        seen = names | {samples[number].patient for number in again}
        left[source] = [sample for sample in samples if sample.patient not in seen]
    return left


def left_out(brought: Mapping[str, Sequence[Sample]], left: Mapping[str, Sequence[Sample]]) -> list[dict[str, Any]]:
    """For each data set, how many images it has and how many of them belong to patients that the model knows."""
    return [
        {"source": source, "images": len(samples), "known": len(samples) - len(left[source])}
        for source, samples in brought.items()
    ]
