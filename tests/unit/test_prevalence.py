"""The probability at another prevalence is Bayes' rule, and is said where a prevalence was configured."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs import prevalence
from medfake_pacs.classifier import load_bundle
from medfake_pacs.entities import ModelIdentity, SeriesVerdict, VerdictLabel
from medfake_pacs.report import wording
from medfake_pacs.verdict import assess_study
from medfake_pacs.workflows.profiles import profile_of
from tests.unit.classifier_support import make_bundle

SHARES = st.floats(0.001, 0.999)


def series(probability: float | None, **parameters: str) -> SeriesVerdict:
    return SeriesVerdict(
        series_instance_uid="1.2",
        modality="CT",
        label=VerdictLabel.FAKE,
        probability=probability,
        model=ModelIdentity(name="m", version="1", sha256="0" * 64, parameters=parameters),
        route="r",
        images_total=1,
        images_scored=1,
        reason="",
        findings=(),
    )


@given(SHARES, SHARES, SHARES)
def test_it_is_bayes_rule(probability: float, trained: float, new: float) -> None:
    # Likelihood ratio from the old prior, posterior with the new one.
    ratio = probability / (1 - probability) * (1 - trained) / trained
    expected = ratio * new / (ratio * new + 1 - new)
    found = prevalence.at_prevalence(probability, trained_prior=trained, prevalence=new)
    assert found == pytest.approx(expected, rel=1e-9)
    assert prevalence.at_prevalence(found, trained_prior=new, prevalence=trained) == pytest.approx(probability)


def test_a_detector_of_95_and_999_per_mille_at_one_in_a_thousand() -> None:
    # The positive predictive value of sensitivity .95 and specificity .999 at 0.1 %: 48.7 %.
    found = prevalence.at_prevalence(0.95 / (0.95 + 0.001), trained_prior=0.5, prevalence=0.001)
    assert found == pytest.approx(0.487, abs=5e-4)
    assert [prevalence.at_prevalence(p, trained_prior=0.5, prevalence=0.001) for p in (0.0, 1.0)] == [0.0, 1.0]


def test_it_is_said_only_where_a_prevalence_was_configured() -> None:
    assert prevalence.of_series(series(0.9, trained_prior="0.5")) is None
    assert prevalence.of_series(series(None, trained_prior="0.5", prevalence="0.01")) is None
    found = prevalence.of_series(series(0.9, trained_prior="0.5", prevalence="0.01"))
    assert found is not None
    assert found.probability == pytest.approx(0.0833, abs=1e-4)
    assert found.sentence == "Where 1 % of the images are fake, the probability is 0.083"


@pytest.mark.parametrize(
    ("configured", "probability", "said"),
    [
        (0.9999999, 0.9, "Where 99.99999 % of the images are fake, the probability is 1.000"),
        (0.000123456789, 0.9, "Where 0.0123 % of the images are fake, the probability is 0.001"),
        (1e-300, 0.9, "Where 1e-298 % of the images are fake, the probability is below 0.001"),
        (5e-324, 1e-300, "Where 4.94e-322 % of the images are fake, the probability is below 0.001"),
    ],
)
def test_a_prevalence_is_kept_as_it_was_configured(
    tmp_path: Path, configured: float, probability: float, said: str
) -> None:
    made = profile_of(load_bundle(make_bundle(tmp_path / "small")), configured).identity.parameters
    assert float(made["prevalence"]) == configured
    found = prevalence.of_series(series(probability, **made))
    assert found is not None
    assert found.sentence == said


def test_a_prevalence_that_was_recorded_rounded_is_the_limit_and_no_error() -> None:
    found = [prevalence.of_series(series(0.9, prevalence=recorded)) for recorded in ("1", "0")]
    assert [each.probability for each in found if each] == [1.0, 0.0]


def test_a_study_says_the_highest_of_its_series() -> None:
    both = [series(0.9, prevalence="0.001"), series(0.3, prevalence="0.001"), series(0.99)]
    found = prevalence.of_study(assess_study("2", 1, both))
    assert found is not None
    assert found.sentence == "Where 0.1 % of the images are fake, the probability is 0.009"
    assert prevalence.of_study(assess_study("2", 1, [series(0.99)])) is None


def test_the_report_says_it_in_words() -> None:
    at = series(0.9, prevalence="0.01")
    sentence = "Where 1 % of the images are fake, the probability is 0.083."
    assert sentence in wording.series_comment(at)
    assert sentence in wording.study_comment(assess_study("2", 1, [at]))
    assert "are fake, the probability" not in wording.study_comment(assess_study("2", 1, [series(0.9)]))
