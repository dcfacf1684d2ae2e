"""Scores of clean images and of fakes made from them, by every detector on the same pixels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

from training.baselines.detector import Detector
from training.datasets import Sample
from training.evaluation.conditions import Condition
from training.evaluation.detectors import Reading
from training.evaluation.localisation import shares
from training.evaluation.rows import CLEAN, Cells, Row, is_cleaned
from training.forge import WHOLE
from training.sampling import PairSampler
from training.setting import Setting

Array = npt.NDArray[np.float32]
_CHUNK = 16
# So many slices make a series that can be pooled over neighbours.
SERIES_SLICES = 8


class Watch(Protocol):
    """Shows how far an iteration is."""

    def __call__(self, jobs: Iterable["Job"], total: int, what: str) -> Iterable["Job"]:
        """The same jobs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image to score and what is known of it; ``mask`` (H, W) is the edited part of a local fake."""

    sample: Sample
    image: Array
    family: str = CLEAN
    codec: str = ""
    change: str = ""
    run: str = ""
    source: str = ""
    mask: Array | None = None

    @property
    def lossy(self) -> bool:
        """Whether the image was compressed with loss, here or before."""
        return bool(self.codec) or self.sample.lossy


def unwatched(jobs: Iterable[Job], total: int, what: str) -> Iterable[Job]:
    """Shows nothing."""
    del total, what
    return jobs


class Scorer:
    """Scores one part of the split; every fake is drawn from the given seed.

    ``families`` are those of the configuration that the forge can make, ``missing`` the others.
    ``detectors``: the first is the one that is evaluated, the others score the same images.
    """

    def __init__(self, setting: Setting, detectors: Sequence[Detector], *, watch: Watch = unwatched) -> None:
        self._setting = setting
        self._detectors = tuple(detectors)
        self._watch = watch
        self._samplers: dict[str, PairSampler] = {}
        configuration = setting.configuration
        wanted = (*configuration.families, *configuration.held_out_families)
        self.families = setting.available(wanted)
        self.missing = tuple(family for family in wanted if family not in self.families)

    def rows(self, part: str, *, seed: int, images: int = 0, skip: Sequence[str] = ()) -> list[Row]:
        """Samples of a part, clean and with one fake of each family, as they are.

        ``images``: as many samples at most, drawn by the seed; 0 for all. ``skip`` names patients left out.
        """
        chosen = self._chosen(part, seed, images, skip)
        jobs = (job for number in chosen for job in self._images(part, number, seed))
        return self._scored(jobs, len(chosen) * (1 + len(self.families)), "clean images and fakes")

    def grid(
        self, part: str, conditions: Sequence[Condition], *, seed: int, images: int, skip: Sequence[str] = ()
    ) -> list[Row]:
        """The first ``images`` samples of ``rows``, clean and one fake each, under every condition.

        The fakes are among those that ``rows`` scores with the same seed; the families take turns.
        """
        chosen = self._chosen(part, seed, images, skip)
        jobs = self._conditioned(part, chosen, conditions, seed)
        return self._scored(jobs, 2 * len(chosen) * len(conditions), "robustness")

    def honest(
        self, part: str, conditions: Sequence[Condition], *, seed: int, images: int, skip: Sequence[str] = ()
    ) -> list[Row]:
        """As ``grid``, but each fake is made of the processed image: as an edit of what an archive holds would be."""
        chosen = self._chosen(part, seed, images, skip)
        jobs = (job for condition in conditions for job in self._processed(part, chosen, condition, seed))
        return self._scored(jobs, 2 * len(chosen) * len(conditions), "honest processing")

    def brought(self, samples: Sequence[Sample], *, source: str, images: int = 0, seed: int = 0) -> list[Row]:
        """A data set's own real images and fakes as they are; ``images`` of each generator and of the real at most."""
        kinds: dict[str, list[Sample]] = {}
        for sample in samples:
            kinds.setdefault(CLEAN if _real(sample) else sample.generator or "fake", []).append(sample)
        jobs = []
        for family, members in kinds.items():
            order = np.random.default_rng(seed).permutation(len(members))[: images or None]
            for sample in (members[at] for at in order):
                jobs.append(Job(sample=sample, image=sample.image, family=family, source=source, mask=sample.mask))
        return self._scored(jobs, len(jobs), source)

    def clean(self, part: str, *, images: int = 0, seed: int = 0) -> list[Row]:
        """Samples of a part as they are."""
        samples = getattr(self._setting.split, part)
        chosen = self._chosen(part, seed, images, ())
        return self._scored((Job(sample=samples[number], image=samples[number].image) for number in chosen), 0, "clean")

    def series(self, *, run: int, draws: int, seed: int, most: int = 0) -> list[Row]:
        """Volumes of test patients: every slice clean, and the slices of ``draws`` edits of each family.

        An edit is at one place over ``run`` slices; its rows carry the name of the edit in ``run``. ``most``: as many
        volumes at most, 0 for all. Slices within a volume are in order.
        """
        samples = self._setting.split.test
        found = volumes(samples, sorted({sample.patient for sample in samples if _real(sample)}))
        long_enough = [one for one in found if len(one) >= max(SERIES_SLICES, run)]
        jobs = self._volume_jobs(long_enough[: most or None], run, draws, seed)
        return self._scored(jobs, 0, "series")

    def _volume_jobs(self, found: Sequence[Sequence[int]], run: int, draws: int, seed: int) -> Iterator[Job]:
        samples, sampler = self._setting.split.test, self._sampler("test")
        rng = np.random.default_rng(seed)
        for numbers in found:
            yield from (Job(sample=samples[number], image=samples[number].image, run="clean") for number in numbers)
        if not found:
            return
        for family in self.families:
            for draw in range(draws):
                numbers = found[draw % len(found)]
                first = _start(samples, numbers, run, rng)
                centre = sampler.place(numbers[first + run // 2], rng)
                for number in numbers[first : first + run]:
                    image = sampler.forge_image(number, family, rng, centre).image
                    yield Job(sample=samples[number], image=image, family=family, run=f"{family} {draw + 1}")

    def _chosen(self, part: str, seed: int, images: int, skip: Sequence[str]) -> list[int]:
        samples = getattr(self._setting.split, part)
        kept = [number for number, sample in enumerate(samples) if sample.patient not in set(skip)]
        order = np.random.default_rng(seed).permutation(len(kept))
        return [kept[place] for place in order[: images or None]]

    def _images(self, part: str, number: int, seed: int, families: Sequence[str] | None = None) -> Iterator[Job]:
        """One sample, clean and with its fakes; each fake's draw depends on seed, sample and family alone."""
        sample = getattr(self._setting.split, part)[number]
        yield Job(sample=sample, image=sample.image)
        sampler = self._sampler(part)
        for family in sampler.families_for(number, self.families if families is None else families):
            rng = np.random.default_rng([seed, number, crc32(family.encode())])
            forged = sampler.forge_image(number, family, rng)
            yield Job(sample=sample, image=forged.image, family=family, mask=None if family in WHOLE else forged.mask)

    def _conditioned(
        self, part: str, chosen: Sequence[int], conditions: Sequence[Condition], seed: int
    ) -> Iterator[Job]:
        for order, number in enumerate(chosen):
            for job in self._images(part, number, seed, [self.families[order % len(self.families)]]):
                for condition in conditions:
                    name = {"codec" if condition.lossy else "change": condition.name}
                    yield replace(job, image=condition.apply(job.image, job.sample.name), mask=None, **name)

    def _processed(self, part: str, chosen: Sequence[int], condition: Condition, seed: int) -> Iterator[Job]:
        samples = [getattr(self._setting.split, part)[number] for number in chosen]
        processed = tuple(
            replace(sample, image=condition.apply(sample.image, sample.name), lossy=sample.lossy or condition.lossy)
            for sample in samples
        )
        setting = replace(self._setting, split=replace(self._setting.split, **{part: processed}))
        sampler = setting.sampler(part)
        for order, sample in enumerate(processed):
            made = sampler.families_for(order, self.families)
            if not made:
                continue
            family = self.families[order % len(self.families)]
            family = family if family in made else made[order % len(made)]
            rng = np.random.default_rng([seed, chosen[order], crc32(family.encode())])
            name = {"codec" if condition.lossy else "change": condition.name}
            yield Job(sample=sample, image=sample.image, **name)
            yield Job(sample=sample, image=sampler.forge_image(order, family, rng).image, family=family, **name)

    def _sampler(self, part: str) -> PairSampler:
        if part not in self._samplers:
            self._samplers[part] = self._setting.sampler(part)
        return self._samplers[part]

    def _scored(self, jobs: Iterable[Job], total: int, what: str) -> list[Row]:
        rows: list[Row] = []
        chunk: list[Job] = []
        for job in self._watch(jobs, total, what):
            chunk.append(job)
            if len(chunk) == _CHUNK:
                rows += self._score(chunk)
                chunk = []
        return rows + self._score(chunk) if chunk else rows

    def _score(self, chunk: Sequence[Job]) -> list[Row]:
        images = [job.image for job in chunk]
        lossy = [job.lossy for job in chunk]
        return [
            _row(job, reading, detector, keep_cells=number == 0)
            for number, detector in enumerate(self._detectors)
            for job, reading in zip(chunk, read_with(detector, images, lossy), strict=True)
        ]


def read_with(detector: Detector, images: Sequence[Array], lossy: Sequence[bool] = ()) -> list[Reading]:
    """What a detector says of images: all that the node would say of them, or a score alone."""
    read: Callable[[Sequence[Array], Sequence[bool]], list[Reading]] | None = getattr(detector, "read", None)
    return read(images, lossy) if read else [Reading(score=score) for score in detector.score(images)]


def volumes(samples: Sequence[Sample], patients: Sequence[str]) -> list[list[int]]:
    """The numbers of each series' samples, in the order of their positions; cleaned ones are a series of their own."""
    series: dict[tuple[str, str, bool], list[int]] = {}
    wanted = set(patients)
    for number, sample in enumerate(samples):
        if sample.patient in wanted and sample.series and _real(sample):
            series.setdefault((sample.patient, sample.series, is_cleaned(sample.name)), []).append(number)
    return [sorted(numbers, key=lambda number: samples[number].position) for numbers in series.values()]


def _real(sample: Sample) -> bool:
    return sample.label == "real"


def _start(samples: Sequence[Sample], numbers: Sequence[int], run: int, rng: np.random.Generator) -> int:
    """Where a run of edited slices begins: on a slice that shows lung, if there is one."""
    last = len(numbers) - run + 1
    lung = [at for at in range(last) if samples[numbers[at]].lung_fraction > 0.1]
    return int(rng.choice(lung or range(last)))


def _row(job: Job, reading: Reading, detector: Detector, *, keep_cells: bool) -> Row:
    sample = job.sample
    cells: Cells = ()
    truth: Cells = ()
    if keep_cells and job.mask is not None and reading.cells is not None:
        cells = _plain(reading.cells)
        truth = _plain(shares(job.mask, detector.cell_px, reading.cells.shape))  # type: ignore[attr-defined]
    return Row(
        name=sample.name,
        patient=sample.patient,
        series=sample.series,
        position=sample.position,
        lung_fraction=sample.lung_fraction,
        family=job.family,
        codec=job.codec,
        change=job.change,
        run=job.run,
        source=job.source,
        lossy=job.lossy,
        score=float(reading.score),
        outside=reading.outside,
        detector=detector.name,
        probability=reading.probability,
        verdict=reading.verdict,
        cells=cells,
        truth=truth,
    )


def _plain(cells: Array) -> Cells:
    return tuple(tuple(round(value, 2) for value in row) for row in cells.tolist())
