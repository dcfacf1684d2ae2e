"""Which bundle's thresholds and name a verdict has, where several bundles share one network."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from medfake_pacs.classifier import Bundle, load_bundle
from medfake_pacs.config import Settings
from medfake_pacs.workflows.models import Models
from tests import model_bundles
from tests.console_support import console_settings

NAME, SITE = model_bundles.NAME, "lung-ct-site"
LOW, MIDDLE = {"real_below": 0.1, "fake_above": 0.2}, {"real_below": 0.4, "fake_above": 0.6}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    base = model_bundles.small_models(tmp_path / "models")
    return console_settings(tmp_path, "", {"scoring": {"models_dir": str(base)}})


def edition(settings: Settings, target: Path, **card: Any) -> Bundle:
    """Put a copy of the base bundle there; its network stays the same."""
    return model_bundles.edition(settings.models_dir / NAME, target, **({"version": "1.0.0"} | card))


def test_of_two_names_with_one_network_each_has_its_own_thresholds(settings: Settings) -> None:
    site = edition(settings, settings.models_dir / SITE, name=SITE, thresholds=MIDDLE)
    base = load_bundle(settings.models_dir / NAME)
    assert site.model_sha256 == base.model_sha256
    models = Models(settings)
    for bundle in (base, site):
        profile = models.profile(bundle.model_sha256, bundle.card.name)
        assert profile is not None
        assert profile.identity.name == bundle.card.name
        assert profile.identity.parameters["calibration_sha256"] == bundle.calibration_sha256
    unnamed = models.profile(base.model_sha256)
    assert unnamed is not None
    assert unnamed.identity.name == NAME


def replaced(settings: Settings) -> tuple[Bundle, Bundle, Bundle]:
    """Two calibrations of one model that was replaced, the first by folder and the other, and what is in force."""
    library = settings.model_library_dir / NAME
    first = edition(settings, library / "1.0.0-aaaaaaaaaaaaaaaa", thresholds=LOW)
    second = edition(settings, library / "1.0.0-bbbbbbbbbbbbbbbb", thresholds=MIDDLE)
    now = edition(settings, library / "1.1.0-cccccccccccccccc", version="1.1.0", weights=1e-3)
    assert first.model_sha256 == second.model_sha256 != now.model_sha256
    return first, second, now


@pytest.mark.parametrize("which", [0, 1])
def test_of_a_replaced_model_it_is_the_calibration_that_was_in_force(settings: Settings, which: int) -> None:
    *both, now = replaced(settings)
    before = both[which]
    pointer = {
        "active": now.directory.name, "previous": before.directory.name, "previous_sha256": before.model_sha256,
        "previous_calibration_sha256": before.calibration_sha256,
    }  # fmt: skip
    (settings.model_library_dir / NAME / "active.json").write_text(json.dumps(pointer))
    profile = Models(settings).profile(before.model_sha256, NAME)
    assert profile is not None
    assert profile.identity.parameters["calibration_sha256"] == before.calibration_sha256


def test_of_a_replaced_model_it_is_the_one_of_the_name_and_never_one_that_waits_or_was_refused(
    settings: Settings,
) -> None:
    library = settings.model_library_dir
    own = edition(settings, library / "own" / "1.0.0-aaaaaaaaaaaaaaaa", name="own", thresholds=MIDDLE)
    other = edition(settings, library / "another" / "1.0.0-aaaaaaaaaaaaaaaa", name="another", thresholds=LOW)
    for folder in ("offers", "refused", "incoming"):
        edition(settings, library / folder / "x", name="own", thresholds=LOW)
    shutil.rmtree(settings.models_dir / NAME)
    models = Models(settings)
    for bundle in (own, other):
        profile = models.profile(own.model_sha256, bundle.card.name)
        assert profile is not None
        assert profile.identity.parameters["calibration_sha256"] == bundle.calibration_sha256
    shutil.rmtree(library / "own")
    shutil.rmtree(library / "another")
    assert Models(settings).profile(own.model_sha256, "own") is None
