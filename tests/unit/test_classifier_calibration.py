"""Cards of both formats, what their thresholds are, and which digest changes with what."""

import copy
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs.classifier import load_bundle
from medfake_pacs.classifier.bundle import calibration_digest, model_digest
from medfake_pacs.classifier.card import parse_card
from medfake_pacs.entities import VerdictLabel
from medfake_pacs.errors import BundleError
from medfake_pacs.verdict import Limits
from medfake_pacs.wording import threshold_lines, thresholds_of
from medfake_pacs.workflows.profiles import profile_of
from tests.unit.classifier_support import make_bundle, make_card

SCORES = [number / 10 for number in range(99)]
OLD = make_card("0" * 64, 96, 32, 32)
del OLD["network"]["cell_px"]


def side(threshold: float, alpha: float, scores: list[float]) -> dict[str, Any]:
    return {
        "threshold": threshold, "alpha": alpha, "method": "rank", "count": len(scores), "patients": 9, "scores": scores
    }  # fmt: skip


def new_card(**changes: Any) -> dict[str, Any]:
    card = {key: value for key, value in copy.deepcopy(OLD).items() if key != "thresholds"}
    reading = {"real": side(9.8, 0.01, SCORES), "fake": side(0.9, 0.1, SCORES)}
    return card | {"format": 2, "strata": {"lossless": {"image": reading}}} | changes


def parsed(card: dict[str, Any]) -> Any:
    return parse_card(json.dumps(card))


def test_a_card_of_format_1_has_one_pair_of_thresholds_for_every_image() -> None:
    card = parsed(OLD | {"calibration": {"slope": 2.0, "intercept": -1.0}})
    shown = {(False, False): pytest.approx((0.4, 0.6)), (True, False): pytest.approx((0.4, 0.6))}
    assert card.shown_thresholds() == shown
    assert card.calibration.trained_prior == 0.5
    assert threshold_lines(card.shown_thresholds()) == ["real up to 0.400, fake from 0.600"]


PROBABILITIES = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))


@given(
    thresholds=st.tuples(PROBABILITIES, PROBABILITIES).map(sorted),
    slope=st.floats(0.05, 20),
    intercept=st.floats(-9, 9),
    logits=st.lists(st.floats(-90, 90), max_size=9),
)
def test_a_card_of_format_1_compares_probabilities(
    thresholds: list[float], slope: float, intercept: float, logits: list[float]
) -> None:
    """Fake from the one on, else real up to the other: also at 0, at 1, and where they are the same."""
    real_below, fake_above = thresholds
    card = parsed(
        OLD
        | {"thresholds": {"real_below": real_below, "fake_above": fake_above}}
        | {"calibration": {"slope": slope, "intercept": intercept}}
    )
    real_to, fake_from = card.bounds()[False, False]
    limits = Limits(real_to=real_to, fake_from=fake_from)
    at_thresholds = [(math.log(p / (1 - p)) - intercept) / slope for p in thresholds if 0 < p < 1]
    for logit in [*logits, *at_thresholds, 99.0 / slope]:
        probability = card.calibration.probability(logit)
        if probability >= fake_above:
            expected = VerdictLabel.FAKE
        else:
            expected = VerdictLabel.REAL if probability <= real_below else VerdictLabel.INDETERMINATE
        assert limits.label(logit) is expected, (logit, probability)


def test_a_card_of_format_2_has_them_by_kind_of_image() -> None:
    card = parsed(new_card())
    assert card.bounds() == {(False, False): (9.8, 0.9)}
    assert card.shown_thresholds()[False, False] == pytest.approx((1 / (1 + math.exp(-0.9)), 1 / (1 + math.exp(-9.8))))
    assert threshold_lines(card.shown_thresholds()) == [
        "lossless images: real up to 0.711, fake from 1.000", "lossy images: not calibrated, indeterminate"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 3}, "format"),
        ({"format": 1}, "format 1"),
        ({"thresholds": {"real_below": 0.1, "fake_above": 0.9}}, "format 2"),
        ({"strata": {}}, "lossless"),
        ({"strata": {"lossy": new_card()["strata"]["lossless"]}}, "lossless"),
        ({"calibration": {"slope": -1.0, "intercept": 0.0}}, "slope"),
        ({"calibration": {"slope": 1.0, "intercept": 0.0, "trained_prior": 1.0}}, "trained_prior"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        parsed(new_card(**change))


@pytest.mark.parametrize(
    "change", [{"threshold": 9.7}, {"alpha": 0.05}, {"alpha": 0.001}, {"scores": SCORES[::-1]}, {"count": 98}]
)
def test_a_threshold_that_does_not_follow_from_its_scores_is_refused(change: dict[str, Any]) -> None:
    card = new_card()
    card["strata"]["lossless"]["image"]["real"] |= change
    with pytest.raises(BundleError, match=r"strata\.lossless"):
        parsed(card)


def test_thresholds_change_the_calibration_digest_and_not_the_models() -> None:
    first, other = new_card(), new_card()
    other["strata"]["lossless"]["image"]["real"] = side(9.4, 0.05, SCORES)
    a, b = parsed(first), parsed(other)
    assert model_digest(a) == model_digest(b)
    assert calibration_digest(a) != calibration_digest(b)
    old = [parsed(OLD | {"thresholds": {"real_below": low, "fake_above": 0.6}}) for low in (0.3, 0.4)]
    assert model_digest(old[0]) == model_digest(old[1])
    assert calibration_digest(old[0]) != calibration_digest(old[1])
    steeper = parsed(OLD | {"calibration": {"slope": 2.0, "intercept": 0.0}})
    assert model_digest(steeper) != model_digest(old[1])
    assert calibration_digest(steeper) != calibration_digest(old[1])


def test_a_card_that_names_the_usual_cells_has_the_digest_of_one_that_does_not() -> None:
    named, finer = copy.deepcopy(OLD), copy.deepcopy(OLD)
    named["network"]["cell_px"], finer["network"]["cell_px"] = 32, 16
    assert model_digest(parsed(named)) == model_digest(parsed(OLD)) != model_digest(parsed(finer))


def test_the_profile_reads_and_names_what_the_card_says(tmp_path: Path) -> None:
    card = new_card()
    lossy = {"real": side(9.8, 0.01, SCORES), "fake": side(0.9, 0.1, SCORES)}
    series = {"real": side(9.8, 0.01, SCORES), "fake": side(0.4, 0.05, SCORES)}
    card["strata"] = {
        "lossless": {"image": card["strata"]["lossless"]["image"], "series": series},
        "lossy": {"image": lossy},
    }
    folder = make_bundle(tmp_path / "small")
    bundle = load_bundle(folder)
    text = json.loads((folder / "card.json").read_text())
    del text["thresholds"]
    (folder / "card.json").write_text(json.dumps(text | {"format": 2, "strata": card["strata"]}))
    changed = load_bundle(folder)
    assert (changed.model_sha256, changed.calibration_sha256 != bundle.calibration_sha256) == (
        bundle.model_sha256,
        True,
    )
    profile = profile_of(changed, 0.001)
    parameters = profile.identity.parameters
    assert parameters["calibration_sha256"] == changed.calibration_sha256
    assert parameters["prevalence"] == "0.001"
    assert [line.partition(":")[0] for line in thresholds_of(parameters)] == [
        "lossless images", "lossless images of a series", "lossy images"
    ]  # fmt: skip
    # A verdict from before there were kinds.
    assert thresholds_of({"real_below": "0.4", "fake_above": "0.6"}) == ["real up to 0.400, fake from 0.600"]
    assert {key for key in parameters if key.startswith("real_below")} == {
        "real_below", "real_below_series", "real_below_lossy"
    }  # fmt: skip
    assert [profile.label_of(logit) for logit in (0.5, 5.0, 9.9)] == [
        VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.FAKE
    ]  # fmt: skip
    assert profile.label_of(0.5, windows=5) is VerdictLabel.INDETERMINATE
    assert profile.label_of(0.5, windows=5, lossy=True) is VerdictLabel.REAL


def test_the_installed_models_keep_the_digests_that_old_verdicts_name() -> None:
    card = parsed(OLD)
    parts = {
        "weights": OLD["weights_sha256"],
        "network": OLD["network"],
        "preprocessing": OLD["preprocessing"],
        "tile": OLD["tile"],
        "top_k_positions": 3,
        "calibration": OLD["calibration"],
        "domain": OLD["domain"],
    }
    wanted = hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert model_digest(card) == wanted
