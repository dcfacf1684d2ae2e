"""The words that command line, console and API share, so that one thing has one name everywhere."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from medfake_pacs.entities import VerdictLabel

# What each verdict means, in words that a radiologist can act on.
VERDICT_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        VerdictLabel.REAL: "The model found no sign that these pixels were synthesised or manipulated.",
        VerdictLabel.FAKE: "The model found signs that these pixels were synthesised or manipulated.",
        VerdictLabel.INDETERMINATE: "The model can't tell. Treat the images as you would without this system.",
        VerdictLabel.NOT_ASSESSED: "The images were not assessed; the reason says why.",
    }
)
PROBABILITY_MEANING = (
    "The probability, as the model's calibration estimates it, that the pixels are fake; it holds for images like "
    "those that the model was calibrated on."
)
DELIVERY_STATES: Mapping[str, str] = MappingProxyType(
    {"waiting": "waiting", "sent": "sent", "dead": "dead letter", "dismissed": "dismissed"}
)
NOTIFICATION_STATES: Mapping[str, str] = MappingProxyType({"waiting": "waiting", "sent": "sent", "dead": "dead letter"})
# What a radiologist can say of a verdict, and what each of it says.
OPINIONS: Mapping[str, str] = MappingProxyType(
    {
        "agree": "agrees with the verdict",
        "disagree": "disagrees with the verdict",
        "comment": "comments on the verdict",
    }
)
REVIEW_STATES: Mapping[str, str] = MappingProxyType(
    {
        "recorded": "report being written",
        "reported": "reported",
        "unreported": "recorded; there is no report to send",
    }
)


def threshold_lines(thresholds: Mapping[tuple[bool, bool], tuple[float, float]]) -> list[str]:
    """Say what a model's thresholds are; one line for each kind of image, or one for all where they are the same.

    ``thresholds`` are (real below, fake above) by (lossy, one of a series), as probabilities.
    """
    if not thresholds:
        return []
    same = len(set(thresholds.values())) == 1 and any(lossy for lossy, _ in thresholds)
    lines = []
    for (lossy, several), (low, high) in sorted(thresholds.items()):
        kind = "" if same else f"{'lossy' if lossy else 'lossless'} images{' of a series' if several else ''}: "
        lines.append(f"{kind}real up to {low:.3f}, fake from {high:.3f}")
    if not any(lossy for lossy, _ in thresholds):
        lines.append("lossy images: not calibrated, indeterminate")
    return list(dict.fromkeys(lines))


def thresholds_of(parameters: Mapping[str, str]) -> list[str]:
    """Say what the thresholds were that a verdict's model was run with, from the parameters that its identity names."""
    found = {}
    for lossy in (False, True):
        for several in (False, True):
            suffix = "_lossy" * lossy + "_series" * several
            if f"real_below{suffix}" in parameters:
                pair = float(parameters[f"real_below{suffix}"]), float(parameters[f"fake_above{suffix}"])
                found[lossy, several] = pair
    if "calibration_sha256" not in parameters and found:
        # A verdict from before there were kinds: one pair for every image.
        found[True, False] = found[False, False]
    return threshold_lines(found)


def failed_attempts(attempts: int, next_attempt_at: float) -> str:
    """Say how often assessing a revision failed and when it is tried again (seconds since the epoch; 0: at once)."""
    times = "once" if attempts == 1 else f"{attempts} times"
    again = f" at {datetime.fromtimestamp(next_attempt_at, UTC):%Y-%m-%d %H:%M:%SZ}" if next_attempt_at else ""
    return f"assessing it failed {times}; it is tried again{again}"
