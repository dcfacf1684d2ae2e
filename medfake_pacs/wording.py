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


def failed_attempts(attempts: int, next_attempt_at: float) -> str:
    """Say how often assessing a revision failed and when it is tried again (seconds since the epoch; 0: at once)."""
    times = "once" if attempts == 1 else f"{attempts} times"
    again = f" at {datetime.fromtimestamp(next_attempt_at, UTC):%Y-%m-%d %H:%M:%SZ}" if next_attempt_at else ""
    return f"assessing it failed {times}; it is tried again{again}"
