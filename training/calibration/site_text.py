"""What `medfake-train calibrate` prints: what counted, what didn't, and the false alarms before and after."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from scipy.stats import binomtest

from medfake_pacs import conformal
from medfake_pacs.classifier.calibration import Side
from training.calibration.images import SYNTHETIC, Gathered, Group
from training.calibration.site import Change, rate_interval

RATES = (0.05, 0.01, 0.005, 0.001)
_NAMES = 5
_MANY_OUTSIDE = 0.2
_MANY_LOOSE = 10


def gathered_lines(gathered: Gathered, root: Path, group: Group) -> Iterator[str]:
    """What the folder held, and every reason for which files don't count with some of their names."""
    lossy = sum(image.lossy for image in gathered.images)
    yield (
        f"{gathered.files} files: {len(gathered.images)} clean images of {gathered.patients} {_groups(group)} count, "
        f"{lossy} of them compressed with loss"
    )
    for reason, files in sorted(gathered.left_out.items(), key=lambda item: -len(item[1])):
        yield f"  left out, {len(files)}: {reason}: {_named(files, root)}"
    synthetic = len(gathered.left_out.get(SYNTHETIC, ()))
    if synthetic:
        yield (
            f"warning: {synthetic} files are declared synthetic: this folder is not one of clean images alone; "
            "look where they came from before you use the result"
        )
    yield from _loose_lines(gathered, root, group)
    outside = sum(len(files) for reason, files in gathered.left_out.items() if reason.startswith("outside"))
    if outside > _MANY_OUTSIDE * (outside + len(gathered.images)):
        yield (
            f"warning: {outside} of {outside + len(gathered.images)} images are outside the model's domain: the node "
            "won't assess such images of this site, whatever the thresholds"
        )


def _loose_lines(gathered: Gathered, root: Path, group: Group) -> Iterator[str]:
    """A warning for each folder of so many pictures that they are hardly of as many patients."""
    folders = Counter(Path(image.group).parent for image in gathered.images if not image.series)
    for folder, count in sorted(folders.items()):
        if group != "image" and count >= _MANY_LOOSE:
            yield (
                f"warning: {count} pictures (PNG, JPEG) of {_named([folder], root)} count as a patient each, since "
                "nothing says whose they are: if some are of one patient (slices, views), the rates promise too much; "
                "give DICOM files, or one picture of each patient"
            )


def needed_lines() -> Iterator[str]:
    """How many patients which false-alarm rate needs."""
    pairs = ", ".join(f"{rate:.1%} needs {conformal.least_count(rate)}" for rate in RATES)
    yield f"patients with clean images of one kind that a false-alarm rate needs at least: {pairs}"


def change_lines(changes: Sequence[Change], group: Group) -> Iterator[str]:
    """Each stratum's thresholds and false alarms before and after."""
    for change in changes:
        what = f"{change.kind} {'images' if change.unit == 'image' else 'series'}"
        if not change.scores:
            continue
        yield f"{what} ({len(change.all_scores)}; one of each of {len(change.scores)} {_groups(group)} counts)"
        if change.before:
            yield f"  before: {_measured(change, change.before)}"
        if change.after is None:
            yield f"  after:  unchanged: {change.why}"
            continue
        yield f"  after:  {_measured(change, change.after)}{_promise(change.after)}"
        if change.why:
            yield f"          {change.why}"
        if change.fakes and change.fakes.scores and change.before:
            yield f"          {_cost(change, change.before, change.after)}"


def _measured(change: Change, side: Side) -> str:
    count = change.false_alarms(side)
    interval = binomtest(count, len(change.scores)).proportion_ci(method="wilson")
    return (
        f"{_rule(change, side)}: {count} of {len(change.scores)} called fake, "
        f"{count / len(change.scores):.2%} (95 % interval {interval.low:.2%} to {interval.high:.2%})"
    )


def _rule(change: Change, side: Side) -> str:
    """From where on a score is called fake: above the bound of real images, and not below that of fakes."""
    if change.fakes and change.fakes.threshold > side.threshold:
        real = f"that of real images is {side.threshold:.3f}"
        return f"fake from logit {change.fakes.threshold:.3f} (the fakes' bound; {real})"
    return f"fake above logit {side.threshold:.3f}"


def _promise(side: Side) -> str:
    if side.method != "rank":
        return "; extrapolated, no promise"
    low, high = rate_interval(side)
    return f"; of further patients at most {side.alpha:.2%} on average, with 95 % certainty {low:.2%} to {high:.2%}"


def _cost(change: Change, before: Side, after: Side) -> str:
    """What the other threshold does to the fakes that the card was calibrated with."""
    fakes = change.fakes.scores if change.fakes else ()
    shares = [change.called_fake(fakes, side) / len(fakes) for side in (before, after)]
    return f"of the card's {len(fakes)} fakes {shares[0]:.1%} were called fake before, {shares[1]:.1%} are now"


def _groups(group: Group) -> str:
    return {"patient": "patients", "study": "studies", "image": "images"}[group]


def _named(files: Sequence[Path], root: Path) -> str:
    shown = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in files[:_NAMES]]
    more = f" and {len(files) - _NAMES} more" if len(files) > _NAMES else ""
    return ", ".join(shown) + more
