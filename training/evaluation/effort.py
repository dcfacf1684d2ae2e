"""How much each detector of a report learnt from, in words: a comparison of detectors is one of that as well."""

from collections.abc import Mapping
from typing import Any


def of_bundle(training: Mapping[str, Any]) -> str:
    """What a card's ``training`` says; empty where it says nothing."""
    if "wall_clock_s" not in training:
        return ""
    own = f"{training.get('crops', '?')} crops in {training['wall_clock_s'] / 60:.0f} minutes"
    before = training.get("begun_with", {})
    if not before:
        return own
    crops = before_sum(before, "images")
    return f"{own}, after {crops:.0f} crops in {before_sum(before, 'elapsed_s') / 60:.0f} minutes of the runs before"


def before_sum(begun_with: Mapping[str, Any], key: str) -> float:
    """The sum over the runs that a model's weights come from, one begun with the other."""
    return begun_with[key] + before_sum(begun_with.get("begun_with", {}), key) if begun_with else 0.0


def of_plain(about: Any) -> str:
    """What the plain network's own account says (``images_seen``, ``seconds``, ``device``)."""
    return f"{about.images_seen} whole images in {about.seconds / 60:.0f} minutes on {about.device}"
