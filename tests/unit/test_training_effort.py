"""What a report says of how long its detectors learnt: the runs before the last one count."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support import REPOSITORY
from tests.unit.training_support import made_up_setting
from training.configuration import read_configuration
from training.evaluation.detectors import ClassifierDetector
from training.evaluation.effort import of_bundle
from training.evaluation.run import Extent, evaluate

RUN = {"crops": 600, "wall_clock_s": 120}
BEFORE = {"images": 1000, "elapsed_s": 600.0, "begun_with": {"images": 500, "elapsed_s": 300.0, "begun_with": {}}}


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({}, ""),
        (RUN, "600 crops in 2 minutes"),
        (RUN | {"begun_with": BEFORE}, "600 crops in 2 minutes, after 1500 crops in 15 minutes of the runs before"),
    ],
)
def test_the_runs_before_are_counted(training: dict[str, Any], said: str) -> None:
    assert of_bundle(training) == said


def test_a_bundle_that_learnt_from_another_split_is_not_evaluated(tmp_path: Any) -> None:
    """Its training patients could be among the test patients."""
    configuration = read_configuration(REPOSITORY / "training" / "configs" / "lung-ct.toml")
    setting = made_up_setting(replace(configuration, backbone="test_efficientnet", pinned_to_test=()))
    card = SimpleNamespace(name=configuration.name, version="1.0", training={"split_sha256": "00" * 32})
    bundle = cast(ClassifierDetector, SimpleNamespace(card=card, name=configuration.name))
    with pytest.raises(ValueError, match="another split of lung-ct"):
        evaluate(setting, [bundle], tmp_path, extent=Extent(), command="", data=tmp_path)
