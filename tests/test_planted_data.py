"""The images of the benchmark of planted imbalances hold what they are said to hold."""

import torch

from benchmarks.planted_data import SIDE, Images
from imbalance_lens.datasets import AVDigits


def test_a_field_holds_the_whole_image_at_a_place_of_its_own() -> None:
    train, test = Images(field=16).splits()
    original = AVDigits("train")
    seen = train.visual
    assert seen.shape == (1800, 1, 16, 16)
    assert test.visual.shape == (600, 1, 16, 16)
    assert torch.equal(train.audio, original.audio)
    assert torch.equal(train.labels, original.labels)
    dark = seen.amin(dim=(1, 2, 3))
    assert (dark == dark[0]).all()
    bright = (seen > dark[0]).flatten(1).sum(1)
    assert torch.equal(bright, (original.visual > original.visual.min()).flatten(1).sum(1))
    rows = (seen > dark[0]).any(3).squeeze(1).int().argmax(1)
    assert len(rows.unique()) > 16 - SIDE
    assert abs(seen.mean().item()) < 1e-5
    assert abs(seen.std().item() - 1) < 1e-5


def test_the_images_are_the_same_at_every_call_and_others_in_the_test_split() -> None:
    once, again = Images(field=12, negative=True).splits(), Images(field=12, negative=True).splits()
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one.visual, other.visual)
    assert not torch.equal(once[0].visual[:600], once[1].visual)


def test_half_of_the_images_can_have_bright_and_dark_exchanged() -> None:
    plain, both = (Images(negative=negative).splits()[0].visual for negative in (False, True))
    kept = (both - both.mean()).sign() == (plain - plain.mean()).sign()
    like_before = kept.flatten(1).float().mean(1) > 0.5
    assert 0.45 < like_before.float().mean() < 0.55


def test_an_item_is_a_pair_with_its_label() -> None:
    train, _ = Images().splits()
    inputs, label = train[3]
    assert {name: tuple(x.shape) for name, x in inputs.items()} == {
        "audio": (1, 32, 32),
        "visual": (1, SIDE, SIDE),
    }
    assert label == int(train.labels[3])
    assert len(train) == 1800
