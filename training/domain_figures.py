"""What a domain refuses: of the test patients' images, of fakes made from them, of another site's, and of strangers."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from medfake_pacs.classifier.anatomy import anatomy
from medfake_pacs.classifier.domain import DomainCheck
from training.datasets import Sample
from training.degrade import jpeg, jpeg2000
from training.domain import MIN_LUNG, fit
from training.setting import Setting
from training.strangers import Stranger, as_picture, fitted

Array = npt.NDArray[np.float32]
_IN_HU = (-1000.0, 300.0)
_TIMED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """How many of some images were refused, with a 95 % interval (Clopper and Pearson) and the reasons by count."""

    what: str
    refused: int
    images: int
    interval: tuple[float, float]
    reasons: Mapping[str, int]
    passed: tuple[str, ...]

    @property
    def share(self) -> float:
        """The refused share, 0 to 1; 0 where there are no images."""
        return self.refused / self.images if self.images else 0.0


def refused(
    what: str, check: DomainCheck, images: Iterable[tuple[str, Array]], *, name_passed: bool = False
) -> Refused:
    """Puts named images to a check. ``name_passed`` keeps the names of those that it lets pass."""
    found = [(name, check.objection(image)) for name, image in images]
    reasons = Counter(why.split(",")[0].split(" px")[0].rstrip("0123456789.% ") for _, why in found if why)
    count, total = sum(bool(why) for _, why in found), len(found)
    return Refused(
        what=what,
        refused=count,
        images=total,
        interval=_interval(count, total),
        reasons=dict(reasons.most_common()),
        passed=tuple(name for name, why in found if not why) if name_passed else (),
    )


def own_images(setting: Setting, check: DomainCheck) -> list[Refused]:
    """The test patients' images by source; CT slices by whether they show lung (2 % of the body) and are axial."""
    groups: dict[str, list[Sample]] = {}
    for sample in setting.split.test:
        groups.setdefault(_group(setting, sample), []).append(sample)
    return [
        refused(name, check, ((sample.name, sample.image) for sample in samples))
        for name, samples in sorted(groups.items())
    ]


def fakes(setting: Setting, check: DomainCheck, families: Sequence[str], images: int) -> list[Refused]:
    """Fakes of each family, and each codec on originals and fakes, of test images that the check takes as they are."""
    hounsfield = setting.configuration.sampling.hounsfield
    sampler, samples = setting.sampler("test"), setting.split.test
    inside = [number for number, sample in enumerate(samples) if not check.objection(sample.image)]
    chosen = inside[:: max(1, len(inside) // images)]
    rows = []
    for family in ("", *families):
        rng = np.random.default_rng(7)
        made = [
            sampler.forge_image(number, family, rng).image if family else samples[number].image for number in chosen
        ]
        for codec, compress in codecs(hounsfield=hounsfield).items():
            if family or codec:
                label = " ".join(part for part in (family or "original", codec) if part)
                rows.append(refused(label, check, ((label, compress(image)) for image in made)))
    return rows


def codecs(*, hounsfield: bool) -> dict[str, Callable[[Array], Array]]:
    """Compressions by name; none is the empty name."""
    if hounsfield:
        return {"": _unchanged, "J2K 10:1": lambda image: jpeg2000(image, 10)}
    return {"": _unchanged, "JPEG q90": lambda image: jpeg(image, 90), "JPEG q70": lambda image: jpeg(image, 70)}


def other_sites(setting: Setting) -> list[Refused]:
    """For each source, a domain fitted without it: how many of all its images that domain refuses.

    CT slices that show no lung are left out: they are refused on purpose, whoever made them.
    """
    hounsfield = setting.configuration.sampling.hounsfield
    split = setting.split
    everything = [*split.train, *split.validation, *split.test]
    sources = sorted({sample.source for sample in everything})
    rows = []
    for left_out in sources if len(sources) > 1 else []:
        rest = [[sample for sample in part if sample.source != left_out] for part in (split.train, split.validation)]
        if not rest[0]:
            # Its only patients are test patients: a site that is known by nothing else.
            rest[0] = [sample for sample in split.test if sample.source != left_out]
        check = DomainCheck(*fit(*([sample.image for sample in part] for part in rest), hounsfield=hounsfield))
        theirs = [s for s in everything if s.source == left_out and s.axial and (not hounsfield or _lung(s.image))]
        fitted_to = ", ".join(source for source in sources if source != left_out)
        rows.append(refused(f"{left_out}, fitted to {fitted_to}", check, ((s.name, s.image) for s in theirs)))
    return rows


def strangers(setting: Setting, check: DomainCheck, others: Iterable[Stranger]) -> list[Refused]:
    """What is refused of each kind: as it is, as an 8-bit picture of the model's usual size, and for CT put into HU."""
    hounsfield = setting.configuration.sampling.hounsfield
    shape = _usual_shape(setting.split.train)
    kinds: dict[str, list[Stranger]] = {}
    for stranger in others:
        kinds.setdefault(stranger.kind, []).append(stranger)
    rows = []
    for kind, members in kinds.items():
        ways: dict[str, Callable[[Stranger], Array]] = {
            "as it is": lambda stranger: stranger.image,
            "8-bit picture of usual size": lambda stranger: fitted(as_picture(stranger), shape),
        }
        if hounsfield:
            ways["8-bit picture as HU"] = lambda stranger: _in_hu(fitted(as_picture(stranger), shape))
        for way, change in ways.items():
            images = ((stranger.name, change(stranger)) for stranger in members)
            rows.append(refused(f"{kind}: {way}", check, images, name_passed=True))
    return rows


def own_turned(setting: Setting, *, every: int = 3) -> list[Stranger]:
    """The test patients' images inverted, upside down and on their side."""
    hounsfield = setting.configuration.sampling.hounsfield
    turned = []
    for sample in setting.split.test[::every]:
        image = sample.image
        inverted = float(image.max()) + float(image.min()) - image
        for kind, changed in (
            ("own, inverted", inverted), ("own, upside down", image[::-1, ::-1]), ("own, on its side", np.rot90(image))
        ):  # fmt: skip
            turned.append(
                Stranger(kind=kind, name=sample.name, image=np.ascontiguousarray(changed), hounsfield=hounsfield)
            )
    return turned


def milliseconds(check: DomainCheck, image: Array) -> float:
    """The processor time of one check, one thread, mean of fifty."""
    check.objection(image)
    start = time.process_time()
    for _ in range(_TIMED):
        check.objection(image)
    return (time.process_time() - start) / _TIMED * 1000


def _group(setting: Setting, sample: Sample) -> str:
    if not setting.configuration.sampling.hounsfield:
        return sample.source
    plane = "axial" if sample.axial else "reformatted"
    return f"{sample.source}, {plane}, {'with' if _lung(sample.image) else 'without'} lung"


def _lung(image: Array) -> bool:
    return anatomy(image).get("lung", 0.0) >= MIN_LUNG


def _unchanged(image: Array) -> Array:
    return image


def _in_hu(picture: Array) -> Array:
    low, high = _IN_HU
    return (picture * (high - low) / 255 + low).astype(np.float32)


def _usual_shape(samples: Sequence[Sample]) -> tuple[int, int]:
    shapes = Counter(sample.image.shape for sample in samples)
    rows, columns = shapes.most_common(1)[0][0]
    return int(rows), int(columns)


def _interval(count: int, total: int) -> tuple[float, float]:
    if not total:
        return 0.0, 1.0
    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return low, high
