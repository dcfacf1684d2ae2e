"""Pooling, thresholds and abstention, seen from outside."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs.entities import FrameScore, ImageAttributes, ModelIdentity, Region, Score, SeriesVerdict, VerdictLabel
from medfake_pacs.verdict import AssessedImage, Limits, Profile, assess_series, assess_study

FAKE, REAL, UNSURE, NOT = (
    VerdictLabel.FAKE,
    VerdictLabel.REAL,
    VerdictLabel.INDETERMINATE,
    VerdictLabel.NOT_ASSESSED,
)


# Fake from 0 on, real up to 2.2: probabilities of 0.5 and 0.9.
ONE = {(lossy, False): Limits(real_to=math.log(9), fake_from=0.0) for lossy in (False, True)}


def profile(contiguous: int = 3) -> Profile:
    identity = ModelIdentity(name="m", version="1", sha256="0" * 64)
    return Profile(identity=identity, contiguous=contiguous, slope=1.0, intercept=0.0, limits=ONE)


def image(number: int, logit: float | None, **more: object) -> AssessedImage:
    attributes = ImageAttributes(
        sop_class_uid="1.2", sop_instance_uid=f"1.{number}", study_instance_uid="2", series_instance_uid="3",
        modality="CT", slice_position_mm=float(number), synthetic_data=str(more.pop("synthetic_data", "")),
        lossy=bool(more.pop("lossy", False)),
    )  # fmt: skip
    outside = str(more.pop("outside", ""))
    frame = FrameScore(
        frame_number=1,
        score=logit or 0.0,
        regions=(Region(x=1, y=2, width=3, height=4, score=5.0),),
        outside_domain=outside,
    )
    score = None if logit is None else Score(pixel_sha256="p", model_sha256="0" * 64, frames=(frame,), engine="e")
    reason = str(more.pop("reason", "" if score else "truncated"))
    return AssessedImage(
        instance_id=number,
        attributes=attributes,
        pixel_sha256="p",
        score=score,
        reason=reason,
        **more,  # type: ignore[arg-type]
    )


def verdict_of(logits: list[float | None], contiguous: int = 3) -> SeriesVerdict:
    return assess_series([image(i, logit) for i, logit in enumerate(logits)], profile(contiguous), route="r")


def test_one_outlying_slice_is_not_a_fake_series() -> None:
    found = verdict_of([-6.0] * 10 + [6.0] + [-6.0] * 10)
    assert found.label is REAL
    assert {finding.label for finding in found.findings} == {REAL}


def test_neighbouring_slices_carry_a_fake_series_and_are_named() -> None:
    found = verdict_of([-6.0] * 10 + [4.0, 4.0, 4.0] + [-6.0] * 10)
    assert found.label is FAKE
    named = [finding.attributes.sop_instance_uid for finding in found.findings if finding.label is FAKE]
    assert named == ["1.10", "1.11", "1.12"]
    assert all(finding.regions and finding.frame_numbers == (1,) for finding in found.findings if finding.label is FAKE)


def test_the_order_is_that_of_the_positions_not_of_arrival() -> None:
    images = [image(i, 4.0 if i in {3, 4, 5} else -6.0) for i in (5, 0, 3, 8, 1, 4, 2, 7, 6)]
    assert assess_series(images, profile(), route="").label is FAKE


def test_a_single_image_is_judged_by_itself() -> None:
    assert [verdict_of([logit]).label for logit in (-1.0, 1.0, 3.0)] == [REAL, UNSURE, FAKE]


def test_probability_is_the_calibrated_one() -> None:
    found = verdict_of([2.0, 2.0, 2.0])
    assert found.probability == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_what_cannot_be_scored_is_counted_and_named_and_keeps_its_series_from_being_real() -> None:
    found = verdict_of([-6.0, None, -6.0])
    assert (found.label, found.images_scored, found.images_total) == (UNSURE, 2, 3)
    assert "1 of 3 images not assessed: truncated" in found.reason
    assert verdict_of([6.0, None, 6.0], 1).label is FAKE


def test_a_localizer_among_the_images_changes_nothing() -> None:
    found = assess_series(
        [image(0, -6.0), image(1, None, reason="localizer image: not assessed")], profile(1), route=""
    )
    assert (found.label, found.images_scored, found.images_total) == (REAL, 1, 2)


def test_nothing_scored_is_not_assessed_with_the_reason() -> None:
    found = verdict_of([None, None])
    assert (found.label, found.probability, found.reason) == (NOT, None, "truncated")


def test_no_model_is_not_assessed() -> None:
    found = assess_series([image(1, None, reason="no route matches this image")], None, route="")
    assert (found.label, found.reason) == (NOT, "no route matches this image")


def test_outside_the_domain_is_indeterminate_and_not_pooled() -> None:
    images = [image(0, 9.0, outside="a photograph"), image(1, -6.0)]
    found = assess_series(images, profile(1), route="")
    assert [finding.label for finding in found.findings] == [UNSURE, REAL]
    assert (found.label, found.images_scored) == (REAL, 1)
    assert "1 of 2 images outside the model's domain: a photograph" in found.reason


def test_a_series_that_is_mostly_outside_the_domain_is_indeterminate() -> None:
    images = [image(0, 9.0, outside="a photograph"), image(1, 9.0, outside="a photograph"), image(2, -6.0)]
    assert assess_series(images, profile(1), route="").label is UNSURE
    assert assess_series(images[:2], profile(1), route="").label is UNSURE


def test_conflicting_pixels_are_never_real() -> None:
    found = assess_series(
        [image(0, -6.0, conflict="differ in their pixels", conflicting_pixels=True)], profile(), route=""
    )
    assert (found.label, found.reason) == (UNSURE, "differ in their pixels")
    found = assess_series([image(0, -6.0, conflict="differ in their header")], profile(), route="")
    assert found.label is REAL


def test_declared_synthetic_is_a_finding_of_its_own() -> None:
    found = assess_series([image(0, -6.0, synthetic_data="YES")], profile(), route="")
    assert found.label is REAL
    assert found.findings[0].declared_synthetic


def test_a_study_is_what_its_worst_series_is() -> None:
    real, fake, none = verdict_of([-6.0]), verdict_of([6.0]), verdict_of([None])
    assert assess_study("2", 1, [real, none]).label is REAL
    assert assess_study("2", 1, [real, none]).images_scored == 1
    assert assess_study("2", 1, [real, fake, none]).label is FAKE
    assert assess_study("2", 1, [none]).label is NOT


def calibrated(limits: dict[tuple[bool, bool], Limits], contiguous: int = 1) -> Profile:
    return replace(profile(contiguous), limits=limits, modality="CT")


def test_an_image_of_a_kind_without_thresholds_is_indeterminate_and_says_so() -> None:
    lossless = calibrated({(False, False): Limits(real_to=2.0, fake_from=0.0)})
    for logit in (-9.0, 9.0):
        found = assess_series([image(0, logit, lossy=True)], lossless, route="")
        assert (found.label, found.reason) == (UNSURE, "not calibrated for lossy CT images")
        assert (found.probability, found.images_scored) == (None, 0)
    assert assess_series([image(0, -9.0)], lossless, route="").label is REAL


def test_an_image_without_thresholds_keeps_its_series_from_being_real_but_not_from_being_fake() -> None:
    lossless = calibrated({(False, False): Limits(real_to=2.0, fake_from=0.0)})
    clean = [image(number, -9.0) for number in range(9)]
    found = assess_series([*clean, image(9, -9.0, lossy=True)], lossless, route="")
    assert (found.label, found.images_scored) == (UNSURE, 9)
    assert found.reason == "1 of 10 images indeterminate: not calibrated for lossy CT images"
    found = assess_series([*clean, image(9, -9.0, lossy=True), image(10, 9.0)], lossless, route="")
    assert found.label is FAKE


def test_each_image_of_a_mixed_series_is_read_by_the_limits_of_its_kind() -> None:
    limits = {(False, False): Limits(real_to=2.0, fake_from=0.0), (True, False): Limits(real_to=5.0, fake_from=4.0)}
    images = [image(0, 3.0), image(1, 3.0, lossy=True), image(2, 4.5, lossy=True), image(3, 6.0, lossy=True)]
    found = assess_series(images, calibrated(limits), route="")
    assert [finding.label for finding in found.findings] == [FAKE, REAL, UNSURE, FAKE]


def test_lossy_images_are_pooled_among_themselves() -> None:
    limits = {(lossy, False): Limits(real_to=2.0 + lossy, fake_from=2.0) for lossy in (False, True)}
    # Every second slice: neighbours of their kind, but of no lossless one.
    images = [image(number, 4.0 if number % 2 else -9.0, lossy=bool(number % 2)) for number in range(8)]
    found = assess_series(images, calibrated(limits, contiguous=3), route="")
    assert [finding.label for finding in found.findings] == [REAL, FAKE] * 4


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=20), st.sets(st.integers(0, 19)))
def test_where_the_limits_are_the_same_it_does_not_matter_which_images_are_lossy(
    logits: list[float], lossy: set[int]
) -> None:
    plain = verdict_of(list(logits))
    marked = assess_series(
        [image(index, logit, lossy=index in lossy) for index, logit in enumerate(logits)], profile(), route="r"
    )
    assert [finding.label for finding in marked.findings] == [finding.label for finding in plain.findings]
    assert (marked.label, marked.probability, marked.reason) == (plain.label, plain.probability, plain.reason)


@given(st.integers(0, 9), st.sets(st.integers(0, 11)))
def test_calling_some_slices_lossy_hides_no_fake(first: int, lossy: set[int]) -> None:
    limits = {(False, False): Limits(real_to=2.0, fake_from=0.0), (True, False): Limits(real_to=5.0, fake_from=4.0)}
    images = [
        image(number, 6.0 if first <= number < first + 3 else -9.0, lossy=number in lossy) for number in range(12)
    ]
    found = assess_series(images, calibrated(limits, contiguous=3), route="")
    assert found.label is FAKE
    named = {finding.instance_id for finding in found.findings if finding.label is FAKE}
    assert named >= set(range(first, first + 3))


def test_a_window_of_both_kinds_is_read_by_the_stricter_limits() -> None:
    limits = {(False, False): Limits(real_to=2.0, fake_from=0.0), (True, False): Limits(real_to=5.0, fake_from=4.0)}
    images = [image(0, 0.9), image(1, 4.5, lossy=True), image(2, 0.9), image(3, -9.0), image(4, -9.0)]
    found = assess_series(images, calibrated(limits, contiguous=3), route="")
    # Their mean is 2.1; the lossy one by itself would be undecided.
    assert [finding.label for finding in found.findings] == [FAKE] * 3 + [REAL] * 2
    assert found.probability == pytest.approx(1 / (1 + math.exp(-2.1)))


def test_scores_of_a_kind_without_thresholds_are_not_pooled_with_others() -> None:
    lossless = calibrated({(False, False): Limits(real_to=2.0, fake_from=0.0)}, contiguous=3)
    images = [image(number, 50.0 if number == 4 else -9.0, lossy=number == 4) for number in range(9)]
    assert assess_series(images, lossless, route="").label is UNSURE


def test_many_windows_are_read_by_the_limits_of_a_series_and_one_by_those_of_an_image() -> None:
    limits = {(False, False): Limits(real_to=1.0, fake_from=0.0), (False, True): Limits(real_to=4.0, fake_from=0.0)}
    both = calibrated(limits, contiguous=3)
    assert assess_series([image(number, 2.0) for number in range(3)], both, route="").label is FAKE
    assert assess_series([image(number, 2.0) for number in range(4)], both, route="").label is UNSURE
    assert assess_series([image(number, 4.1) for number in range(4)], both, route="").label is FAKE


def test_between_classes_that_are_apart_is_out_of_distribution() -> None:
    apart = calibrated({(False, False): Limits(real_to=-1.0, fake_from=1.0)})
    found = assess_series([image(0, 0.0)], apart, route="")
    assert (found.label, found.probability) == (UNSURE, 0.5)
    assert found.reason == (
        "probability 0.500 lies above what real images reach (0.269) and below what fakes reach (0.731): "
        "out of distribution"
    )
    assert [assess_series([image(0, logit)], apart, route="").label for logit in (-1.0, 1.0)] == [REAL, FAKE]


@given(st.lists(st.one_of(st.none(), st.floats(-50, 50)), min_size=1, max_size=60), st.integers(1, 5))
def test_any_scores_give_one_verdict_that_covers_every_image(logits: list[float | None], contiguous: int) -> None:
    found = verdict_of(logits, contiguous)
    assert len(found.findings) == found.images_total == len(logits)
    assert found.images_scored == sum(logit is not None for logit in logits)
    assert (found.label is NOT) == (found.images_scored == 0)
    worst = max((finding.probability for finding in found.findings if finding.probability is not None), default=None)
    assert found.probability == worst


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=40), st.integers(0, 39), st.floats(0, 20))
def test_a_higher_score_never_makes_a_series_less_suspicious(logits: list[float], index: int, more: float) -> None:
    raised = list(logits)
    raised[index % len(logits)] += more
    before, after = verdict_of(list(logits)).probability, verdict_of(list(raised)).probability
    assert before is not None
    assert after is not None
    assert after >= before - 1e-12
