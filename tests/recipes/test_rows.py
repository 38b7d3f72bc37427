"""Features whose shape does not tell which dimension counts the examples."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import recipes
from imbalance_lens import Anatomy
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.errors import SettingError
from recipes._rows import steps_first

from .trainings import CLASSES, Listening, sgd

BATCH, WIDTH = 6, 5
WHO = Anatomy({"audio": "audio[0]", "visual": "visual"}, parts={"audio": ("audio",)})


class Recurrent(nn.Module):
    """A recurrent encoder, over (batch, steps, width) or (steps, batch, width), and another."""

    def __init__(self, *, batch_first: bool, read: str = "last") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.batch_first, self.read = batch_first, read
        self.audio = nn.GRU(WIDTH, 8, batch_first=batch_first)
        self.visual = nn.Linear(4, 8)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        heard, state = self.audio(audio if self.batch_first else audio.transpose(0, 1))
        steps = 1 if self.batch_first else 0
        read = {"last": heard.select(steps, -1), "mean": heard.mean(steps), "state": state[-1]}
        return self.head(torch.cat([read[self.read], self.visual(visual)], 1))


def sounds(steps: int, batch_size: int = BATCH) -> DataLoader:
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(12) % CLASSES
    audio = torch.randn(12, steps, WIDTH, generator=draw) + labels.reshape(-1, 1, 1)
    return DataLoader(
        TensorDataset(audio, torch.randn(12, 4, generator=draw), labels), batch_size, drop_last=True
    )


@pytest.mark.parametrize("steps", [3, BATCH, 9])
@pytest.mark.parametrize("read", ["last", "mean"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_it_is_found_out_what_counts_the_examples(steps: int, read: str, batch_first) -> None:
    model = Recurrent(batch_first=batch_first, read=read)
    audio, visual, _ = next(iter(sounds(steps)))
    with Replayer(model, WHO) as replayer:
        replay = replayer.capture(bind(model, (audio, visual)))
        assert steps_first(replay) == (set() if batch_first else {"audio"})


def test_features_that_nobody_reads_count_as_usual_ones() -> None:
    model = Recurrent(batch_first=False, read="state")
    audio, visual, _ = next(iter(sounds(BATCH)))
    who = Anatomy({"audio": "audio", "visual": "visual"})
    with Replayer(model, who) as replayer:
        replay = replayer.capture(bind(model, (audio, visual)))
        assert steps_first(replay) == set()


def test_a_single_step_of_a_single_example_says_nothing_of_later_batches() -> None:
    handed: list[int] = []

    class Counting(Listening):
        def on_features(self, run: recipes.Run, modality: str, features: Tensor) -> Tensor:
            handed.append(len(features))
            return features

    sizes = [(1, 1), (1, 4), (5, 3)]
    batches = [(torch.ones(b, s, WIDTH), torch.ones(b, 4), torch.arange(b) % 3) for b, s in sizes]
    model = Recurrent(batch_first=True)
    recipes.apply(Counting(), model, batches, anatomy=WHO, epochs=1, optimizer=sgd, device="cpu")
    assert handed == [1, 1, 1, 1, 5, 5]


class Masked(nn.Module):
    """It reads steps before which there may be padding; the first example has none."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.visual = nn.Linear(WIDTH, 8), nn.Linear(4, 8)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        steps = torch.arange(audio.shape[1])
        there = steps >= torch.arange(len(audio))[:, None]
        heard = (self.audio(audio) * there[:, :, None]).sum(1)
        return self.head(torch.cat([heard, self.visual(visual)], 1))


def test_a_step_that_only_one_example_has_is_not_taken_for_this_example() -> None:
    model = Masked()
    audio, visual, _ = next(iter(sounds(BATCH)))
    with Replayer(model, Anatomy({"audio": "audio", "visual": "visual"})) as replayer:
        assert steps_first(replayer.capture(bind(model, (audio, visual)))) == set()


@pytest.mark.parametrize("batch_first", [True, False])
def test_recipes_are_handed_a_batch_of_features_either_way(batch_first: bool) -> None:
    handed: list[Tensor] = []

    class Keeping(Listening):
        def on_features(self, run: recipes.Run, modality: str, features: Tensor) -> Tensor:
            if modality == "audio":
                handed.append(features.detach().clone())
            return features

    model = Recurrent(batch_first=batch_first)
    loader = sounds(BATCH)
    audio, *_ = next(iter(loader))
    with torch.no_grad():
        expected, _ = model.audio(audio if batch_first else audio.transpose(0, 1))
    recipes.apply(Keeping(), model, loader, anatomy=WHO, epochs=1, optimizer=sgd, device="cpu")
    torch.testing.assert_close(handed[0], expected if batch_first else expected.transpose(0, 1))


@pytest.mark.parametrize("recipe", ["opm", "mod_drop"])
def test_the_same_examples_are_dropped_with_the_steps_first_and_last(recipe: str) -> None:
    ends = []
    for batch_first in (True, False):
        model = Recurrent(batch_first=batch_first)
        recipes.apply(
            recipe, model, sounds(BATCH), anatomy=WHO, epochs=2, optimizer=sgd, device="cpu", seed=1
        )
        ends.append(model.state_dict())
    torch.testing.assert_close(ends[0], ends[1])


def test_heads_are_refused_whichever_the_number_of_steps() -> None:
    for steps in (3, BATCH):
        with pytest.raises(SettingError, match="which belong to which example is not known"):
            recipes.apply(
                "multi_loss", Recurrent(batch_first=False), sounds(steps), anatomy=WHO, epochs=1
            )
