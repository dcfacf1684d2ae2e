"""Scores of clean images and of fakes made from them, by the classifier that the node runs."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medfake_pacs.classifier import Classifier
from medfake_pacs.entities import DecodedFrame
from training.datasets import Sample
from training.degrade import jpeg, jpeg2000
from training.setting import Setting

Array = npt.NDArray[np.float32]
CLEAN = "clean"
_CHUNK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image's score; ``family`` is clean for a real image, ``codec`` empty where nothing was compressed."""

    name: str
    patient: str
    series: str
    position: float
    lung_fraction: float
    family: str
    codec: str
    score: float
    outside: str


def codecs(*, hounsfield: bool) -> dict[str, Callable[[Array], Array]]:
    """The compressions that robustness is measured under, by name; none is the empty name."""
    if hounsfield:
        return {"J2K 5:1": lambda image: jpeg2000(image, 5), "J2K 10:1": lambda image: jpeg2000(image, 10)}
    return {"JPEG q90": lambda image: jpeg(image, 90), "JPEG q70": lambda image: jpeg(image, 70)}


class Scorer:
    """Scores one part of the split; every fake is drawn from the given seed."""

    def __init__(self, setting: Setting, classifier: Classifier) -> None:
        self._setting = setting
        self._classifier = classifier
        configuration = setting.configuration
        self._families = (*configuration.families, *configuration.held_out_families)
        self._codecs = codecs(hounsfield=configuration.sampling.hounsfield)

    def rows(self, part: str, *, seed: int, codec_images: int = 0, skip: Sequence[str] = ()) -> list[Row]:
        """Every sample of a part, clean and with one fake of each family.

        The first ``codec_images`` samples are scored compressed as well. ``skip`` names patients left out.
        """
        samples = getattr(self._setting.split, part)
        jobs = self._jobs(part, samples, np.random.default_rng(seed), codec_images, frozenset(skip))
        return list(self._scored(jobs))

    def _jobs(
        self, part: str, samples: Sequence[Sample], rng: np.random.Generator, codec_images: int, skip: frozenset[str]
    ) -> Iterator[tuple[Sample, str, str, Array]]:
        sampler = self._setting.sampler(part)
        kept = [number for number, sample in enumerate(samples) if sample.patient not in skip]
        for order, number in enumerate(kept):
            sample = samples[number]
            images = {CLEAN: sample.image}
            images |= {family: sampler.forge_image(number, family, rng).image for family in self._families}
            for family, image in images.items():
                yield sample, family, "", image
                if order < codec_images:
                    for codec, compress in self._codecs.items():
                        yield sample, family, codec, compress(image)

    def clean(self, part: str) -> list[Row]:
        """Every sample of a part as it is."""
        samples = getattr(self._setting.split, part)
        return list(self._scored((sample, CLEAN, "", sample.image) for sample in samples))

    def clean_series(self, patient: str) -> list[list[Row]]:
        """A test patient's volumes as they are, slices in order."""
        samples = self._setting.split.test
        return [
            list(self._scored((samples[number], CLEAN, "", samples[number].image) for number in numbers))
            for numbers in _volumes(samples, patient)
        ]

    def series(self, patient: str, *, run: int, draws: int, seed: int) -> dict[str, list[list[Row]]]:
        """A patient's volumes: clean ones, and ``draws`` of each family, edited at one place over ``run`` slices."""
        samples = self._setting.split.test
        sampler = self._setting.sampler("test")
        rng = np.random.default_rng(seed)
        volumes = _volumes(samples, patient)
        result = {CLEAN: self.clean_series(patient)}
        for family in self._families:
            result[family] = []
            for draw in range(draws):
                volume = draw % len(volumes)
                numbers, clean = volumes[volume], result[CLEAN][volume]
                lung = [at for at, number in enumerate(numbers[:-run]) if samples[number].lung_fraction > 0.1]
                first = int(rng.choice(lung))
                centre = sampler.place(numbers[first + run // 2], rng)
                edited = numbers[first : first + run]
                jobs = (
                    (samples[number], family, "", sampler.forge_image(number, family, rng, centre).image)
                    for number in edited
                )
                result[family].append([*clean[:first], *self._scored(jobs), *clean[first + run :]])
        return result

    def _scored(self, jobs: Iterable[tuple[Sample, str, str, Array]]) -> Iterator[Row]:
        chunk: list[tuple[Sample, str, str, Array]] = []
        for job in jobs:
            chunk.append(job)
            if len(chunk) == _CHUNK:
                yield from self._score(chunk)
                chunk = []
        if chunk:
            yield from self._score(chunk)

    def _score(self, chunk: Sequence[tuple[Sample, str, str, Array]]) -> Iterator[Row]:
        frames = [
            DecodedFrame(frame_number=number, values=image, sha256="")
            for number, (_, _, _, image) in enumerate(chunk, start=1)
        ]
        scores = self._classifier.score_frames(frames)
        for (sample, family, codec, _), score in zip(chunk, scores, strict=True):
            yield Row(
                name=sample.name,
                patient=sample.patient,
                series=sample.series,
                position=sample.position,
                lung_fraction=sample.lung_fraction,
                family=family,
                codec=codec,
                score=score.score,
                outside=score.outside_domain,
            )


def best_run(scores: Sequence[float], length: int) -> float:
    """The highest mean of ``length`` neighbours, or of all where there are fewer: a series' score."""
    width = min(length, len(scores))
    return float(np.convolve(scores, np.full(width, 1 / width), mode="valid").max())


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Writes scores as JSON."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=0), encoding="utf-8")


def _volumes(samples: Sequence[Sample], patient: str) -> list[list[int]]:
    series: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        if sample.patient == patient:
            series.setdefault(sample.series, []).append(number)
    return [sorted(numbers, key=lambda number: samples[number].position) for numbers in series.values()]
