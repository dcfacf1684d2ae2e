"""A small setting for tests of the training: made-up slices, split by patient, and a forge fitted to some of them."""

import numpy as np

from tests.unit.test_training_forge import picture
from training.configuration import Configuration
from training.datasets import Sample
from training.forge import Forge, reconstruct
from training.setting import Setting
from training.split import by_patient


def made_up_setting(configuration: Configuration) -> Setting:
    """Ten made-up slices of ten patients; nothing is read from disk."""
    samples = [
        Sample(image=picture(number, side=224), patient=f"p{number}", source="made up", name=f"{number}")
        for number in range(10)
    ]
    split = by_patient(samples)
    codec = reconstruct.fit([sample.image for sample in split.train], np.random.default_rng(0), count=300)
    return Setting(configuration=configuration, split=split, forge=Forge(codec))
