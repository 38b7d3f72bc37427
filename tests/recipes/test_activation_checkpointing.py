"""Encoders that are run again in the backward pass, where no recipe acts."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import recipes
from imbalance_lens.errors import NotApplicableError

from .gated import batches_of, net
from .trainings import AudioVisual, same, trained


class Around(AudioVisual):
    """The checkpoint is around an encoder."""

    reentrant = False

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        heard = self.run_again(self.audio, audio.clone().requires_grad_())
        return self.head(torch.cat([heard, self.visual(visual)], dim=1))

    def run_again(self, part: nn.Module, given: Tensor) -> Tensor:
        found = checkpoint(part, given, use_reentrant=self.reentrant)
        assert isinstance(found, Tensor)
        return found


class AroundReentrant(Around):
    """The checkpoint takes what an encoder gives out of the graph."""

    reentrant = True


class Within(AudioVisual):
    """The checkpoint is around an encoder's layers, which have no name of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = Layers(self.audio)  # pyright: ignore[reportAttributeAccessIssue]


class Layers(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, audio: Tensor) -> Tensor:
        given = audio.clone().requires_grad_()
        found = checkpoint(self.layers, given, use_reentrant=False)
        assert isinstance(found, Tensor)
        return found


@pytest.mark.parametrize("kind", [Around, AroundReentrant])
@pytest.mark.parametrize("recipe", ["opm", "mod_drop"])
def test_features_are_not_changed_where_a_second_run_would_not_repeat_it(recipe, kind) -> None:
    with pytest.raises(NotApplicableError, match=r"'audio' is called within torch\.utils"):
        trained(recipe, kind)


@pytest.mark.parametrize("recipe", ["multi_loss", "mlb", "unimodal"])
def test_heads_do_not_learn_from_features_without_a_graph(recipe: str) -> None:
    with pytest.raises(NotApplicableError, match="use_reentrant=False"):
        trained(recipe, AroundReentrant)


@pytest.mark.parametrize("recipe", ["none", "ogm_ge", "multi_loss", "mlb", "unimodal"])
def test_what_changes_no_features_is_the_same_with_a_checkpoint_around_an_encoder(recipe) -> None:
    assert same(trained(recipe, Around), trained(recipe))


@pytest.mark.parametrize("recipe", ["opm", "mod_drop", "mlb"])
def test_a_checkpoint_within_an_encoder_changes_nothing(recipe: str) -> None:
    found = {name.replace("layers.", ""): t for name, t in trained(recipe, Within).items()}
    assert same(found, trained(recipe))


class RunAgain(nn.Module):
    """Gates that are computed once more in the backward pass."""

    def __init__(self, transfer: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.transfer, self.reentrant = transfer, reentrant

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        def gated(*given: Tensor) -> tuple[Tensor, ...]:
            found = self.transfer(dict(zip(maps, given, strict=True)))
            return tuple(found[name] for name in maps)

        found = checkpoint(gated, *maps.values(), use_reentrant=self.reentrant)
        assert isinstance(found, tuple)
        return dict(zip(maps, found, strict=True))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # when looked at
@pytest.mark.parametrize("reentrant", [False, True])
def test_gates_within_a_checkpoint_are_held_in_both_of_its_runs(reentrant: bool) -> None:
    model = net(2)
    for number, transfer in enumerate(model.transfers):
        model.transfers[number] = RunAgain(transfer, reentrant=reentrant)
    settings: dict[str, Any] = {"epochs": 3, "seed": 0, "device": "cpu", "warmup": 0}
    again = recipes.apply("greedy", model, batches_of(2), **settings)
    once = recipes.apply("greedy", net(2), batches_of(2), **settings)
    assert again.history["step_rebalanced"].any()
    for one, other in zip(model.parameters(), once.model.parameters(), strict=True):
        assert torch.equal(one, other)
