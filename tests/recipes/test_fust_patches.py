"""Random patches of inputs are left out: how many, which, and of what kinds of input."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from imbalance_lens.errors import SettingError
from recipes._fust.patches import masked, patch_counts, usual_patches


@pytest.mark.parametrize(
    ("shape", "patches", "draws", "count"),
    [
        ((1, 1024, 128), ("whole", 32, 8), 1, 512),
        ((3, 224, 224), ("whole", 10, 10), 1, 484),
        ((3, 3, 224, 224), ("whole", "each", 10, 10), 3, 484),
        ((1, 28, 28), ("whole", 4, 4), 1, 49),
        ((50, 300), (1, "whole"), 1, 50),
        ((7,), (1,), 1, 7),
        ((2, 2, 2), ("whole", 1, 1), 1, 4),
    ],
)
def test_a_shape_tells_its_patches(shape, patches, draws, count):
    assert usual_patches(shape) == patches
    assert patch_counts(shape, patches) == (draws, count)


@pytest.mark.parametrize("ratio", [0.0, 0.1848, 0.4621, 0.76])
@pytest.mark.parametrize(
    ("shape", "patches"), [((3, 24, 24), ("whole", 5, 5)), ((1, 64, 16), ("whole", 4, 2))]
)
def test_of_p_patches_exactly_the_floor_of_the_ratio_is_hidden(ratio, shape, patches):
    torch.manual_seed(0)
    inputs = torch.rand(4, *shape) + 1
    found = masked(inputs, torch.full((4,), ratio), patches)
    high, wide = patches[1:]
    rows, columns = shape[1] // high, shape[2] // wide
    for example, before in zip(found, inputs, strict=True):
        hidden = 0
        for row in range(rows):
            for column in range(columns):
                place = (
                    slice(None),
                    slice(row * high, (row + 1) * high),
                    slice(column * wide, (column + 1) * wide),
                )
                whole = torch.equal(example[place], before[place])
                assert whole or not example[place].any()
                hidden += not whole
        assert hidden == int(ratio * rows * columns)
        rest = torch.ones(shape[1:], dtype=torch.bool)
        rest[: rows * high, : columns * wide] = False
        assert torch.equal(example[:, rest], before[:, rest])


def test_each_example_has_its_own_share_and_each_access_its_own_patches():
    torch.manual_seed(0)
    inputs, ratios = torch.ones(3, 100), torch.tensor([0.0, 0.3, 0.999])
    first, second = masked(inputs, ratios, (1,)), masked(inputs, ratios, (1,))
    assert first.sum(1).tolist() == second.sum(1).tolist() == [100, 70, 1]
    assert not torch.equal(first[1], second[1])


def test_frames_are_masked_independently_wherever_they_stand():
    torch.manual_seed(0)
    ratios = torch.tensor([0.5, 0.25])
    channels_first = masked(torch.ones(2, 3, 4, 16, 16), ratios, ("whole", "each", 4, 4))
    frames_first = masked(torch.ones(2, 4, 3, 16, 16), ratios, ("each", "whole", 4, 4))
    for video in (channels_first, frames_first.transpose(1, 2)):
        assert torch.equal(video[:, 0], video[:, 2])  # all channels alike
        assert torch.equal(video.mean((1, 3, 4)), (1 - ratios)[:, None].expand(2, 4))
        frames = video[0, 0]
        assert any(not torch.equal(frames[0], frame) for frame in frames[1:])


def test_sequences_lose_whole_steps():
    torch.manual_seed(0)
    found = masked(torch.ones(2, 10, 6), torch.tensor([0.35, 0.0]), (1, "whole"))
    assert sorted(found[0].sum(1).tolist()) == [0.0] * 3 + [6.0] * 7
    assert found[1].all()


def test_every_patch_is_as_likely_to_be_hidden():
    torch.manual_seed(0)
    found = masked(torch.ones(4000, 8), torch.full((4000,), 0.5), (1,))
    assert torch.allclose(found.mean(0), torch.full((8,), 0.5), atol=0.04)


def test_what_is_no_number_is_hidden_too_and_the_input_is_not_changed():
    inputs = torch.full((1, 4), torch.nan)
    assert int(masked(inputs, torch.tensor([0.5]), (1,)).isnan().sum()) == 2
    assert inputs.isnan().all()


def test_a_ratio_below_nothing_hides_nothing():
    assert masked(torch.ones(1, 9), torch.tensor([-0.4]), (1,)).all()


def test_the_random_state_decides():
    inputs, ratios = torch.ones(2, 3, 8, 8), torch.tensor([0.5, 0.5])
    torch.manual_seed(3)
    first = masked(inputs, ratios, ("whole", 2, 2))
    torch.manual_seed(3)
    assert torch.equal(first, masked(inputs, ratios, ("whole", 2, 2)))


def test_nothing_waits_for_the_device():
    with FakeTensorMode():
        found = masked(torch.ones(2, 3, 4, 9, 9), torch.rand(2), ("whole", "each", 4, 4))
    assert found.shape == (2, 3, 4, 9, 9)


@pytest.mark.parametrize("patches", [(), ("whole",), (0,), ("all", 3), (1.5,)])
def test_extents_that_none_can_be_are_refused(patches):
    with pytest.raises(SettingError, match="patches must have a size above 0"):
        patch_counts((4, 4)[: len(patches)], patches)


@pytest.mark.parametrize("patches", [(1,), ("whole", 5), (1, 1, 1)])
def test_patches_that_do_not_fit_are_refused(patches):
    with pytest.raises(SettingError, match=r"do not fit an input of shape \(4, 4\)"):
        masked(torch.ones(2, 4, 4), torch.zeros(2), patches)


def test_a_shape_of_no_known_kind_is_refused():
    with pytest.raises(SettingError, match="It is not known what the patches"):
        usual_patches((2, 2, 2, 2, 2))
