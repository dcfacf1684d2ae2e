"""Pool the logits of neighbouring frames: each kind by itself, or all together where they are read alike."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from medfake_pacs.verdict.profile import Limits, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One scored frame in the order of the series; ``image`` is its image's place in it."""

    image: int
    frame_number: int
    logit: float
    lossy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The highest pooled logit that each image, and each of its frames, takes part in, and how they are read."""

    limits: Limits | None
    by_image: dict[int, float] = field(default_factory=dict)
    by_frame: dict[tuple[int, int], float] = field(default_factory=dict)

    def take(self, window: Sequence[Frame]) -> None:
        """Pool a window to the mean of its logits."""
        logit = math.fsum(frame.logit for frame in window) / len(window)
        for frame in window:
            key = (frame.image, frame.frame_number)
            self.by_frame[key] = max(logit, self.by_frame.get(key, -math.inf))
            self.by_image[frame.image] = max(logit, self.by_image.get(frame.image, -math.inf))


def pools_of(frames: Sequence[Frame], profile: Profile) -> tuple[Pool, ...]:
    """Return the pools of a series: one where lossy and lossless images are read alike.

    Else one for each kind, and one of the windows that hold both: by the stricter limits, so that slices which are
    made lossy, or said to be, don't keep a fake's neighbours apart. Scores of a kind without limits don't count there.
    """
    width = profile.contiguous
    if profile.reads_alike:
        windows = list(_windows(frames, width))
        return (_pooled(windows, profile.limits_of(lossy=False, windows=len(windows))),)
    pools, found = [], []
    for lossy in (False, True):
        windows = list(_windows([frame for frame in frames if frame.lossy is lossy], width))
        limits = profile.limits_of(lossy=lossy, windows=len(windows))
        pools.append(_pooled(windows, limits))
        found.append(limits)
    if all(found):
        windows = list(_windows(frames, width))
        both = [window for window in windows if len({frame.lossy for frame in window}) > 1]
        pools.append(_pooled(both, profile.strictest(windows=len(windows))))
    return tuple(pools)


def _windows(frames: Sequence[Frame], width: int) -> Iterator[Sequence[Frame]]:
    """Yield every run of ``width`` neighbours; all there are where there are fewer."""
    width = min(width, len(frames))
    for start in range(len(frames) - width + 1 if frames else 0):
        yield frames[start : start + width]


def _pooled(windows: Sequence[Sequence[Frame]], limits: Limits | None) -> Pool:
    pool = Pool(limits=limits)
    for window in windows:
        pool.take(window)
    return pool
