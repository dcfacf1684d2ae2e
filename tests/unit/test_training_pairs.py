"""Pairs, their degradation and what the loss makes of them, on small made-up images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medfake_pacs.pixels.preprocess import Preprocessing, preparer
from tests.support import REPOSITORY
from tests.unit.test_training_forge import picture
from tests.unit.training_support import made_up_setting
from training import sampling
from training.configuration import Configuration, read_configuration, read_plan
from training.degrade import degrade, jpeg2000
from training.loss import pair_loss, pooled
from training.sampling import PairSampler, SamplingSettings, cells_of
from training.setting import Setting

CONFIGS = REPOSITORY / "training" / "configs"
FAMILIES = ("noise", "nodule", "upsample")


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    lung = read_configuration(CONFIGS / "lung-ct.toml")
    return replace(lung, backbone="test_efficientnet", families=FAMILIES, pinned_to_test=())


@pytest.fixture(scope="module")
def setting(configuration: Configuration) -> Setting:
    return made_up_setting(configuration)


@pytest.mark.parametrize("name", ["lung-ct", "knee-xr", "chest-xr", "quick"])
def test_the_configurations_can_be_read(name: str) -> None:
    configuration = read_configuration(CONFIGS / f"{name}.toml")
    assert configuration.name == name
    assert not set(configuration.families) & set(configuration.held_out_families)
    assert len(configuration.families) >= 4


def test_a_plan_brings_its_members_together() -> None:
    plan = read_plan(CONFIGS / "joint.toml")
    assert [member.name for member in plan.members] == ["knee-xr", "chest-xr", "lung-ct"]
    with pytest.raises(ValueError, match="several models"):
        read_configuration(CONFIGS / "joint.toml")
    alone = read_plan(CONFIGS / "knee-xr.toml")
    assert [member.name for member in alone.members] == ["knee-xr"]
    assert alone.training == alone.members[0].training


def test_members_that_do_not_fit_together_are_refused() -> None:
    plan = read_plan(CONFIGS / "joint.toml")
    other = replace(plan.members[0], backbone="efficientnet_b0")
    with pytest.raises(ValueError, match="backbone"):
        replace(plan, members=(plan.members[1], other))


def plain_sampler(setting: Setting, preprocessing: Preprocessing) -> PairSampler:
    settings = SamplingSettings(
        hounsfield=True, negative_chance=0, degrade_chance=0, codec_chance=0, stray_chance=0, whole_chance=0
    )
    return PairSampler(setting.split.train, setting.forge, preprocessing, settings)


def test_training_pixels_are_the_services_pixels(setting: Setting) -> None:
    """A real crop must be found, turned one of eight ways, in what the service makes of the whole image."""
    recipe = setting.configuration.preprocessing_source
    batch = plain_sampler(setting, setting.configuration.preprocessing).batch(3, 64, FAMILIES, np.random.default_rng(1))
    prepared = [preparer(recipe)(sample.image) for sample in setting.split.train]
    windows = [np.lib.stride_tricks.sliding_window_view(image[0], (64, 64)) for image in prepared]
    for crop in batch.pixels[:3]:
        turned = [np.rot90(one, turn) for turn in range(4) for one in (crop[0], crop[0, :, ::-1])]
        found = False
        for view in windows:
            for one in turned:
                corners = np.abs(view[:, :, 0, 0] - one[0, 0]) < 1e-5
                found |= any(np.allclose(view[row, column], one, atol=1e-4) for row, column in np.argwhere(corners))
        assert found


def test_a_pair_is_one_place_and_differs_only_near_the_edit(setting: Setting) -> None:
    batch = plain_sampler(setting, setting.configuration.preprocessing).batch(
        6, 96, ("noise", "nodule"), np.random.default_rng(2)
    )
    real, fake = batch.pixels[:6, 2], batch.pixels[6:, 2]
    assert batch.labels.tolist() == [0.0] * 6 + [1.0] * 6
    same = (real == fake).mean(axis=(1, 2))
    assert (same > 0.2).all()
    assert (same < 1).all()
    assert (batch.cells[:6] == 0).all()
    for cells, unchanged in zip(batch.cells[6:], real == fake, strict=True):
        outer = unchanged.reshape(6, 16, 6, 16).all(axis=(1, 3))
        assert outer[cells == 0].any()
        assert not outer[cells == 1].any()


def test_cells_are_those_that_hold_the_edit() -> None:
    mask = np.zeros((96, 96), np.float32)
    mask[32:64, 64:] = 1
    mask[30:32, 64:] = 0.2
    expected = np.zeros((3, 3))
    expected[1, 2], expected[0, 2] = 1, sampling.IGNORED
    assert np.array_equal(cells_of(mask, 32), expected)
    fine = cells_of(mask, 16)
    assert fine.shape == (6, 6)
    assert (fine[2:4, 4:] == 1).all()


def test_what_lies_beyond_an_edge_is_mirrored(setting: Setting) -> None:
    """A donor that wrapped around would put the image's other side into the middle of an edit."""
    image = np.arange(200 * 180, dtype=np.float32).reshape(200, 180)
    part = sampling._shifted(image, slice(0, 100), slice(60, 160), (-30, 50))
    assert np.array_equal(part[30:, :70], image[:70, 110:180])
    assert np.array_equal(part[:30], part[60:30:-1])


def test_a_degradation_is_the_same_for_both_of_a_pair() -> None:
    image = picture(3)
    for seed in range(12):
        first, second = degrade(
            [image, image.copy()], np.random.default_rng(seed), hounsfield=True, chance=1.0, codec_chance=0.5
        )
        assert np.array_equal(first, second)
        assert np.array_equal(first, np.rint(first))
        assert not np.array_equal(first, image)


def test_jpeg_2000_of_a_ct_slice_keeps_hounsfield_units() -> None:
    image = picture(4)
    coded = jpeg2000(image, 8)
    assert coded.shape == image.shape
    assert 0 < np.abs(coded - image).mean() < 20


def test_the_loss_rewards_the_right_side(setting: Setting) -> None:
    batch = plain_sampler(setting, setting.configuration.preprocessing).batch(4, 96, FAMILIES, np.random.default_rng(3))
    right = torch.from_numpy(np.where(batch.cells > 0.5, 4.0, -4.0))
    silent = torch.zeros(right.shape)
    assert pair_loss(right, batch, 1, 0.5) < 0.1 < pair_loss(silent, batch, 1, 0.5)
    assert pair_loss(-right, batch, 1, 0.5) > 3
    assert pooled(torch.arange(9.0).reshape(1, 3, 3), 2).item() == 7.5
