"""MMTM equals its formula, whatever the maps' shapes, and the model around it is its parts."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from imbalance_lens import find_anatomy
from imbalance_lens.errors import SettingError
from imbalance_lens.models import Mmtm, MmtmNet

SIZES = {"audio": 4, "visual": 6, "text": 3}
PLACES = {"audio": (5,), "visual": (3, 2), "text": ()}


def maps_of(count: int = 3, batch: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    names = list(SIZES)[:count]
    return {m: torch.randn(batch, SIZES[m], *PLACES[m]).double() for m in names}


def made(count: int = 3, **settings: int) -> Mmtm:
    torch.manual_seed(0)
    return Mmtm(dict(list(SIZES.items())[:count]), **settings).double()


def slowly(module: Mmtm, maps: dict[str, torch.Tensor], example: int) -> dict[str, list[float]]:
    """Each channel's gate, number by number."""
    squeezed = [
        sum(row := maps[m][example, channel].flatten().tolist()) / len(row)
        for m in maps
        for channel in range(SIZES[m])
    ]
    joint = [
        max(0.0, bias + sum(w * s for w, s in zip(weights, squeezed, strict=True)))
        for weights, bias in zip(
            module.joint.weight.tolist(), module.joint.bias.tolist(), strict=True
        )
    ]
    gates = {}
    for m in maps:
        gate = module.gates.get_submodule(m)
        assert isinstance(gate, nn.Linear)
        gates[m] = [
            2 / (1 + math.exp(-b - sum(w * z for w, z in zip(row, joint, strict=True))))
            for row, b in zip(gate.weight.tolist(), gate.bias.tolist(), strict=True)
        ]
    return gates


@pytest.mark.parametrize("count", [2, 3])
def test_it_equals_the_slow_twin(count):
    module, maps = made(count), maps_of(count)
    scaled = module(maps)
    for example in range(2):
        for m, gates in slowly(module, maps, example).items():
            for channel, gate in enumerate(gates):
                expected = maps[m][example, channel] * gate
                torch.testing.assert_close(scaled[m][example, channel], expected)


def test_gates_of_weight_0_let_everything_through():
    module, maps = made(), maps_of()
    for parameter in module.gates.parameters():
        nn.init.zeros_(parameter)
    assert all(torch.equal(scaled, maps[m]) for m, scaled in module(maps).items())


def test_a_map_without_places_is_one_of_a_single_place():
    module, maps = made(), maps_of()
    spread = {**maps, "text": maps["text"][:, :, None, None]}
    assert torch.equal(module(maps)["text"], module(spread)["text"].flatten(1))


def test_examples_do_not_hear_each_other_and_modalities_do():
    module, maps = made(), maps_of()
    changed = {m: x.clone() for m, x in maps.items()}
    changed["text"][0] += 1
    before, after = module(maps), module(changed)
    assert torch.equal(before["audio"][1], after["audio"][1])
    assert not torch.equal(before["audio"][0], after["audio"][0])


@pytest.mark.parametrize(("ratio", "width"), [(4, 3), (1, 13), (100, 1)])
def test_the_joint_signal_is_narrower_by_the_ratio(ratio, width):
    assert made(ratio=ratio).joint.out_features == width


def net(count: int = 3) -> tuple[MmtmNet, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    names = list(SIZES)[:count]
    stages = {m: [nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, SIZES[m])] for m in names}
    model = MmtmNet(stages, {m: [6, SIZES[m]] for m in names}, classes=4)
    return model, {m: torch.randn(8, 5) for m in names}


@pytest.mark.parametrize("count", [2, 3])
def test_the_model_is_the_mean_of_its_branches_with_modules_behind_the_last_stages(count):
    model, inputs = net(count)
    maps = {m: model.get_submodule(f"branches.{m}.0")(x) for m, x in inputs.items()}
    for stage in (1, 2):
        maps = {m: model.get_submodule(f"branches.{m}.{stage}")(x) for m, x in maps.items()}
        maps = model.transfers[stage - 1](maps)
    logits = {m: model.get_submodule(f"branches.{m}.3")(x) for m, x in maps.items()}
    assert torch.equal(model(**inputs), sum(logits.values()) / count)
    assert model.modality_logits(**inputs).keys() == logits.keys()


def test_the_branches_are_found_with_all_that_they_own():
    model, inputs = net()
    found = find_anatomy(model, inputs)
    assert found.encoders == {m: f"branches.{m}" for m in inputs}
    assert found.fusion == ("transfers.0", "transfers.1")
    for m in inputs:
        own = dict(model.get_submodule(f"branches.{m}").named_parameters())
        assert {*found.parameters(model, m)} == {*own.values()}


def test_the_small_model_takes_maps_of_any_size_and_learns_in_every_part():
    model = MmtmNet.small(["audio", "visual"], 5, width=2)
    logits = model(audio=torch.randn(4, 1, 9, 20), visual=torch.randn(4, 1, 8, 8), other=None)
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_a_model_can_be_copied_and_pickled():
    model, inputs = net()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(**inputs), model(**inputs))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Mmtm({"audio": 4}), "Two or more modalities"),
        (lambda: Mmtm({"audio": 4, "text": 0}), r"sizes\['text'\] must be a whole number above 0"),
        (lambda: Mmtm(SIZES, ratio=0), "ratio must be a whole number above 0"),
        (lambda: made()(maps_of(2)), "maps must have the modalities"),
        (lambda: made()({m: x[:, :1] for m, x in maps_of().items()}), r"\(batch, 4, \.\.\.\)"),
        (
            lambda: MmtmNet({"a": [nn.Linear(1, 1)], "b": []}, {"a": [1], "b": [1]}, 2),
            "branches have 1 and 0 stages, and sizes 1 and 1 numbers",
        ),
        (
            lambda: MmtmNet({"a": [nn.ReLU()], "b": [nn.ReLU()]}, {"a": [1, 1], "b": [1, 1]}, 2),
            "no more than stages",
        ),
        (lambda: net()[0](audio=torch.randn(2, 5)), "needs an input for 'visual', 'text'; got 'au"),
    ],
)
def test_what_does_not_fit_is_refused(make, complaint):
    with pytest.raises(SettingError, match=complaint):
        make()
