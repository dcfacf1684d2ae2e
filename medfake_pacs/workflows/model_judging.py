"""Judge a new bundle by what images and series were to the one in force, and are to it. Pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medfake_pacs.config import ModelsSettings
from medfake_pacs.entities import VerdictLabel
from medfake_pacs.verdict import AssessedImage, Profile, assess_series
from medfake_pacs.workflows import model_library as library

_CONFIDENCE_Z = 1.96
Images = dict[int, AssessedImage]
Pair = tuple[VerdictLabel, VerdictLabel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """What one trial on recent images came to. ``against`` is the calibration digest of the bundle in force.

    ``not_fake_before`` of the ``images`` weren't fake to the bundle in force and ``newly_fake`` of those are to the new
    one; ``real_before`` were real to the former, and ``newly_undecided`` of those are indeterminate to the latter.
    The numbers with ``series_`` are the same of the ``whole_series``.
    """

    trial: str
    against: str
    passed: bool
    enough: bool
    reason: str
    images: int = 0
    series: int = 0
    not_fake_before: int = 0
    newly_fake: int = 0
    real_before: int = 0
    newly_undecided: int = 0
    whole_series: int = 0
    series_not_fake_before: int = 0
    series_newly_fake: int = 0
    series_real_before: int = 0
    series_newly_undecided: int = 0
    engine: str = ""
    reference_difference: float | None = None
    seconds: float = 0.0


def pairs(
    series: Sequence[Sequence[int]], images: tuple[Images, Images], profiles: tuple[Profile, Profile]
) -> list[Pair]:
    """Return what each series, given by its images' ids, is by the first profile and by the second.

    ``images`` are as the model of each profile has scored them; a series of which one is missing is left out.
    """
    found = []
    for members in series:
        if members and all(number in scored for scored in images for number in members):
            before, after = (
                assess_series([scored[number] for number in members], profile, route="").label
                for scored, profile in zip(images, profiles, strict=True)
            )
            found.append((before, after))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    total: int
    not_fake: int
    fake: int
    real: int
    undecided: int

    def objections(self, settings: ModelsSettings, what: str) -> list[str]:
        found = []
        if wilson_lower(self.fake, self.not_fake) > settings.canary_margin_fake:
            found.append(f"{self.fake} of {self.not_fake} recent {what} that weren't fake would be")
        if wilson_lower(self.undecided, self.real) > settings.canary_margin_undecided:
            found.append(f"{self.undecided} of {self.real} recent {what} that were real would be indeterminate")
        return found


def _counted(labels: Sequence[Pair]) -> _Counts:
    not_fake = [after for before, after in labels if before is not VerdictLabel.FAKE]
    real = [after for before, after in labels if before is VerdictLabel.REAL]
    return _Counts(
        total=len(labels),
        not_fake=len(not_fake),
        fake=not_fake.count(VerdictLabel.FAKE),
        real=len(real),
        undecided=sum(after in (VerdictLabel.INDETERMINATE, VerdictLabel.NOT_ASSESSED) for after in real),
    )


def judge(settings: ModelsSettings, labels: Sequence[Pair], series: Sequence[Pair] = ()) -> Canary:
    """Return whether a bundle may be switched to, by what each image and each whole series was before and is now.

    A share counts by the lower end of its Wilson interval (95 %), so that a single image of a few doesn't decide.
    """
    images, whole = _counted(labels), _counted(series)
    objections = [*images.objections(settings, "images"), *whole.objections(settings, "series")]
    enough = len(labels) >= settings.canary_minimum
    reason = "; ".join(objections)
    if not reason and not enough:
        reason = f"{len(labels)} recent images to try it on; it takes {settings.canary_minimum}"
    if not reason and not labels:
        reason = "no recent images"
    return Canary(
        trial=library.new_id(),
        against="",
        passed=not objections,
        enough=enough or bool(objections),
        reason=reason,
        images=images.total,
        not_fake_before=images.not_fake,
        newly_fake=images.fake,
        real_before=images.real,
        newly_undecided=images.undecided,
        whole_series=whole.total,
        series_not_fake_before=whole.not_fake,
        series_newly_fake=whole.fake,
        series_real_before=whole.real,
        series_newly_undecided=whole.undecided,
    )


def wilson_lower(count: int, of: int) -> float:
    """Return the lower end of Wilson's 95 % interval for a share; 0 where there is nothing to have a share of."""
    if of == 0:
        return 0.0
    z, share = _CONFIDENCE_Z, count / of
    centre = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, (centre - spread) / (1 + z * z / of))


def as_facts(canary: Canary) -> Mapping[str, Any]:
    """Return the trial as the log, the command and the console show it: numbers and digests, nothing of a patient."""
    return asdict(canary)
