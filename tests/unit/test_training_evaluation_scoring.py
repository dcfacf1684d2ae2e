"""What is scored: the same pixels by every detector, the same fakes for the same seed, both classes alike."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from evaluation_support import row

from medfake_pacs.classifier.calibration import LOSSLESS, LOSSY
from tests.support import REPOSITORY
from tests.unit.test_training_forge import picture
from training.calibration import fit
from training.configuration import read_configuration
from training.datasets import Sample
from training.evaluation.conditions import WINDOWS, grid, honest, resized, windowed
from training.evaluation.detectors import Reading
from training.evaluation.localisation import edited, measures, shares
from training.evaluation.rows import CLEAN
from training.evaluation.scoring import Scorer
from training.evaluation.series import series_of
from training.evaluation.unseen import left_out, unseen
from training.forge import WHOLE, Forge, reconstruct
from training.forge.negatives import KINDS
from training.setting import Setting
from training.split import Split

Array = np.ndarray
FAMILIES = ("noise", "upsample")


class Watching:
    """Keeps what it is given; its score is the mean of the image."""

    cell_px = 32

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Array] = []

    def score(self, images: Sequence[Array]) -> list[float]:
        self.seen += images
        return [float(image.mean()) for image in images]


class Reader(Watching):
    """Reads as a bundle does: with a map and a verdict."""

    def read(self, images: Sequence[Array], lossy: Sequence[bool] = ()) -> list[Reading]:
        self.lossy = list(lossy)
        return [
            Reading(score=score, verdict="real", cells=np.zeros((7, 7), np.float32)) for score in self.score(images)
        ]


@pytest.fixture(scope="module")
def setting() -> Setting:
    configuration = replace(
        read_configuration(REPOSITORY / "training" / "configs" / "lung-ct.toml"),
        families=FAMILIES,
        held_out_families=("inpaint", "diffusion"),
        pinned_to_test=(),
    )
    single = [
        Sample(image=picture(number, side=224), patient=f"p{number}", source="made up", name=f"{number}")
        for number in range(4)
    ]
    volume = [
        Sample(
            image=picture(20 + number, side=224),
            patient="volume",
            source="made up",
            name=f"v{number}",
            series="1",
            position=float(-number),
        )
        for number in range(9)
    ]
    codec = reconstruct.fit([sample.image for sample in single], np.random.default_rng(0), count=300)
    split = Split(train=tuple(single[:1]), validation=tuple(single[1:2]), test=(*single[2:], *volume))
    return Setting(configuration=configuration, split=split, forge=Forge(codec))


def test_every_detector_scores_the_same_pixels(setting: Setting) -> None:
    first, second = Reader("first"), Watching("second")
    scorer = Scorer(setting, [first, second])
    rows = scorer.rows("test", seed=3, skip=["volume"])
    assert scorer.missing == ("diffusion",)
    assert [(one.name, one.family) for one in rows if one.detector == "first"] == [
        (one.name, one.family) for one in rows if one.detector == "second"
    ]
    assert all(np.array_equal(*both) for both in zip(first.seen, second.seen, strict=True))
    assert {one.family for one in rows} == {CLEAN, "noise", "upsample", "inpaint"}
    assert len(rows) == 2 * 2 * 4
    cells = {one.family for one in rows if one.cells}
    assert cells == {"noise", "inpaint"}
    assert all(0 < np.max(one.truth) <= 1 for one in rows if one.cells)


def test_the_same_seed_makes_the_same_fakes_whatever_else_is_scored(setting: Setting) -> None:
    def scores(seed: int, images: int = 0) -> dict[tuple[str, str], float]:
        rows = Scorer(setting, [Watching("d")]).rows("test", seed=seed, images=images)
        return {(one.name, one.family): one.score for one in rows}

    everything, fewer, others = scores(3), scores(3, images=3), scores(4)
    assert len(fewer) == 3 * 4
    assert {key: everything[key] for key in fewer} == fewer
    assert any(everything[key] != others[key] for key in everything if key[1] != CLEAN)


def test_conditions_take_clean_images_and_their_own_fakes_through_the_same(setting: Setting) -> None:
    detector = Reader("d")
    scorer = Scorer(setting, [detector])
    base = scorer.rows("test", seed=3)
    conditions = [one for one in grid(hounsfield=True) if one.name in ("J2K 10:1", "mirrored")]
    rows = scorer.grid("test", conditions, seed=3, images=6)
    assert len(rows) == 6 * 2 * 2
    assert {(one.name, one.family) for one in rows} <= {(one.name, one.family) for one in base}
    by_name = {one.name: {row.family for row in rows if row.name == one.name} for one in rows}
    assert all(CLEAN in families and len(families) == 2 for families in by_name.values())
    assert {one.condition for one in rows} == {"J2K 10:1", "mirrored"}
    assert all(one.lossy is bool(one.codec) for one in rows)
    same = {(one.name, one.family): one.score for one in base}
    mirrored = [one for one in rows if one.change == "mirrored"]
    assert all(one.score == pytest.approx(same[one.name, one.family], rel=1e-5) for one in mirrored)


class Knowing(Reader):
    """Scores known images 0 to 1 and all others 5 to 6; keeps for which it was told that they are lossy."""

    def __init__(self, known: Sequence[Sample]) -> None:
        super().__init__("d")
        self.known = [sample.image.tobytes() for sample in known]
        self.told: list[bool] = []

    def read(self, images: Sequence[Array], lossy: Sequence[bool] = ()) -> list[Reading]:
        self.told += lossy
        clean = [image.tobytes() in self.known for image in images]
        return [Reading(score=(0 if one else 5) + float(np.abs(np.sin(image.sum())))) for one, image in
                zip(clean, images, strict=True)]  # fmt: skip


def test_calibration_and_verdicts_take_the_same_images_for_lossy(setting: Setting) -> None:
    test = tuple(replace(one, lossy=number % 2 == 0) for number, one in enumerate(setting.split.test))
    mixed = replace(setting, split=replace(setting.split, test=test))
    detector = Knowing(test)
    scorer = Scorer(mixed, [detector])
    rows = scorer.rows("test", seed=3)
    fitted = fit(rows, families=FAMILIES, contiguous=1)
    conditions = [one for one in grid(hounsfield=True) if one.name in ("J2K 10:1", "mirrored")]
    rows += scorer.grid("test", conditions, seed=3, images=6)
    assert [one.lossy for one in rows] == detector.told
    came = {one.name: one.lossy for one in test}
    assert all(one.lossy is (came[one.name] or one.codec != "") for one in rows)
    for kind, lossy in ((LOSSLESS, False), (LOSSY, True)):
        clean = [one.score for one in rows if one.lossy is lossy and one.family == CLEAN and not one.condition]
        assert fitted.strata[kind].image.real.scores == pytest.approx(sorted(clean), abs=2e-4)


def test_an_edit_of_a_series_is_at_neighbouring_slices_in_order(setting: Setting) -> None:
    rows = Scorer(setting, [Watching("d")]).series(run=3, draws=2, seed=1)
    clean, *edits = series_of(rows)
    assert clean[0] == CLEAN
    assert [one.name for one in clean[1]] == [f"v{number}" for number in reversed(range(9))]
    assert len(edits) == 2 * 3
    for family, slices in edits:
        assert [one.name for one in slices] == [one.name for one in clean[1]]
        changed = [at for at, one in enumerate(slices) if one.family == family]
        assert changed == list(range(changed[0], changed[0] + 3))


def test_a_data_sets_own_fakes_are_kept_from_patients_of_the_training(setting: Setting) -> None:
    mine = replace(setting.split.train[0], label="fake", generator="ct-gan")
    theirs = replace(mine, patient="elsewhere", lossy=True, image=picture(90, side=224))
    left = unseen(setting, {"ct-gan": [mine, theirs]})
    assert left == {"ct-gan": [theirs]}
    (one,) = Scorer(setting, [Watching("d")]).brought(left["ct-gan"], source="ct-gan")
    assert (one.family, one.source, one.lossy, one.patient) == ("ct-gan", "ct-gan", True, "elsewhere")


def test_images_of_the_training_laid_out_another_way_are_not_unseen(setting: Setting) -> None:
    """The same knees as another set publishes them: other names, another size, another window, a row less."""
    known = setting.split.validation[0]
    smaller = resized(known.image, 0.75, hounsfield=True)[1:] / 8 + 90
    again = replace(known, image=smaller.astype(np.float32), patient="renamed", name="again")
    fake = replace(again, image=picture(91, side=224), label="fake", generator="gan", name="of the same patient")
    new = replace(fake, image=picture(92, side=224), patient="new", name="new")
    brought = {"knee-chen-prezja": [again, fake, new]}
    left = unseen(setting, brought)
    assert left == {"knee-chen-prezja": [new]}
    assert left_out(brought, left) == [{"source": "knee-chen-prezja", "images": 3, "known": 2}]


@pytest.mark.parametrize("hounsfield", [False, True])
def test_conditions_keep_to_the_units_and_change_the_image(hounsfield: bool) -> None:
    image = picture(3, side=96) if hounsfield else np.rint(np.clip(picture(3, side=96) / 8 + 120, 0, 255))
    image = image.astype(np.float32)
    names = set()
    for condition in grid(hounsfield=hounsfield):
        names.add(condition.name)
        changed = condition.apply(image, "a")
        assert changed.dtype == np.float32
        assert changed.shape != image.shape or not np.array_equal(changed, image)
        assert np.array_equal(changed, condition.apply(image, "a"))
        if not hounsfield and condition.name != "12 bit":
            assert (changed.min() >= 0, changed.max() <= 255) == (True, True)
        if condition.kind not in ("turn", "window", "bits") and condition.name != "J2K 30:1":
            spread = float(image.max() - image.min())
            assert abs(float(changed.mean() - image.mean())) < 0.05 * spread
    wanted = {"J2K 10:1", "8 bit", "window lung -600/1500"} if hounsfield else {"JPEG q90", "J2K 10:1", "12 bit"}
    assert wanted <= names


def test_noise_is_the_same_for_an_image_and_its_fake_and_another_for_each_image() -> None:
    first, second = (one for one in grid(hounsfield=True) if one.name in ("noise 20 HU", "noise 40 HU"))
    image = picture(3, side=96)
    fake = image.copy()
    fake[0, 0] += 300
    fake[40:50, 40:50] += 100
    noise = first.apply(image, "a") - image
    assert np.array_equal(noise, first.apply(fake, "a") - fake)
    # Of one size and with one corner value: scans have the same air there.
    other = first.apply(image, "b") - image
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.1
    stronger = second.apply(image, "a") - image
    assert abs(np.corrcoef(noise.ravel(), stronger.ravel())[0, 1]) < 0.1


def test_honest_processing_is_real_and_its_fakes_are_made_of_the_processed_image(setting: Setting) -> None:
    detector = Reader("d")
    scorer = Scorer(setting, [detector])
    conditions = honest(hounsfield=True)
    assert {one.name for one in conditions} == {f"honest {kind}" for kind in KINDS}
    rows = scorer.honest("test", conditions, seed=3, images=2)
    assert len(rows) == 2 * 2 * len(KINDS)
    assert {one.condition for one in rows} == {one.name for one in conditions}
    assert {one.condition for one in rows if one.lossy} == {"honest codec"}
    by_name = {one.name: one for one in setting.split.test}
    for condition in conditions:
        mine = [(one, seen) for one, seen in zip(rows, detector.seen, strict=True) if one.condition == condition.name]
        for (clean, processed), (fake, forged) in zip(mine[::2], mine[1::2], strict=True):
            assert (clean.fake, fake.fake, clean.name) == (False, True, fake.name)
            assert np.array_equal(processed, condition.apply(by_name[clean.name].image, clean.name))
            if fake.family not in WHOLE:
                assert (forged == processed).mean() > 0.5
            assert not np.array_equal(forged, processed)
    # An image that a codec went over isn't redrawn as a whole: another family has its turn.
    assert {(one.name, one.family) for one in rows if not one.lossy} <= {
        (one.name, one.family) for one in scorer.grid("test", grid(hounsfield=True)[:1], seed=3, images=3)
    }


def test_sizes_and_windows_are_what_their_names_say() -> None:
    image = picture(3, side=96)
    assert resized(image, 0.5, hounsfield=True).shape == (48, 48)
    assert resized(image, 1.25, hounsfield=True).shape == (120, 120)
    low, high = WINDOWS["lung -600/1500"]
    assert (low, high) == (-1350, 150)
    seen = windowed(np.array([[-2000.0, -600.0, 900.0]], np.float32), low, high)
    assert seen[0].tolist() == pytest.approx([low, -600, high], abs=3)


def test_cells_of_a_mask_and_a_small_edit() -> None:
    mask = np.zeros((64, 70), np.float32)
    mask[0:32, 0:16] = 1
    assert shares(mask, 32, (2, 2)).tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert edited(np.array([[0.1, 0.05]])).tolist() == [[True, False]]
    assert not edited(np.zeros((2, 2))).any()
    assert measures(row("noise", 1.0, cells=((1.0,),), truth=((0.0,),)), 0.0) is None
