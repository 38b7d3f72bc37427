"""Finding out who is who changes nothing, and costs what it says."""

import copy
import random
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imbalance_lens.anatomy.find import find_anatomy
from imbalance_lens.errors import AnatomyError
from imbalance_lens.trees import tensors

from .late import WIDTH, LateConcat
from .structures import MovingAverage
from .zoo import ZOO, by_name, specimen_named, vectors


def state_of(model: nn.Module, inputs) -> dict:
    kept = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_parameters", "_buffers")
    return {
        "tensors": {k: v.clone() for k, v in model.state_dict().items()},
        "gradients": [p.grad for p in model.parameters()],
        "flags": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "identities": [
            [id(item) for name in kept for item in vars(module)[name].values()]
            for module in model.modules()
        ],
        "inputs": [tensor.clone() for tensor in tensors(inputs)],
        "random": [torch.get_rng_state(), random.getstate()],
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global one
    }


def same(before, after) -> bool:
    if isinstance(before, Tensor):
        return torch.equal(before, after)
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(same(before[k], after[k]) for k in before)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(same, before, after))
    return before == after


def in_odd_modes(model: nn.Module) -> nn.Module:
    for index, module in enumerate(model.modules()):
        module.training = index % 2 == 0
    return model


@by_name(ZOO)
def test_nothing_is_changed(specimen):
    model, inputs = in_odd_modes(specimen.build()), specimen.inputs(4)
    before = state_of(model, inputs)

    try:
        find_anatomy(model, inputs)
    except AnatomyError:
        assert specimen.refuses

    assert same(before, state_of(model, inputs))


class Raises(nn.Linear):
    """A head that fails at one of its calls."""

    def __init__(self, at: int) -> None:
        super().__init__(2 * WIDTH, 3)
        self.calls = iter(range(100))
        self.at = at

    def forward(self, x: Tensor) -> Tensor:
        if next(self.calls) >= self.at:
            raise ZeroDivisionError("the head had enough")
        return super().forward(x)


@pytest.mark.parametrize("call", range(3))
def test_nothing_is_changed_when_the_model_raises_halfway(call):
    model, inputs = in_odd_modes(MovingAverage()), vectors(2)
    model.head = Raises(at=call)
    before = state_of(model, inputs)

    if call < 2:  # watched, recorded; afterwards a refusal only says nothing
        with pytest.raises(ZeroDivisionError, match="had enough"):
            find_anatomy(model, inputs)
    else:
        assert find_anatomy(model, inputs).encoders == specimen_named("late_concat").encoders

    assert same(before, state_of(model, inputs))


def test_a_model_that_writes_on_its_inputs_writes_on_copies():
    class Centers(LateConcat):
        def forward(self, audio, visual):
            audio -= audio.mean(0)
            return super().forward(audio, visual)

    inputs = vectors(4)
    before = copy.deepcopy(inputs)
    find_anatomy(Centers(), inputs)

    assert same(list(before), list(inputs))


def test_hooks_of_others_survive_and_see_the_passes():
    model = LateConcat()
    seen = Counter()
    model.audio_net.register_forward_hook(lambda *_: seen.update(["audio"]))
    model.head.register_forward_hook(lambda *_: seen.update(["head"]))
    rows = []
    model.head.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))

    find_anatomy(model, vectors(64))

    # watched, recorded, replayed, replayed without any features, run on other examples, replayed
    # again, once more, and with the inputs exchanged
    assert seen == {"audio": 8, "head": 8}
    assert rows == [2] * 8
    model(*vectors(4))
    assert seen == {"audio": 9, "head": 9}


def test_the_encoders_run_three_times_only():
    model = LateConcat()
    runs = []
    original = model.audio_net[0].forward
    model.audio_net[0].forward = lambda x: runs.append(len(x)) or original(x)

    find_anatomy(model, vectors(64))

    assert runs == [2, 2, 2]  # watched, recorded, and on other examples


def test_a_batch_that_cannot_be_cut_is_used_whole():
    class NeedsFour(LateConcat):
        def forward(self, audio, visual):
            return super().forward(*(x.view(4, -1, x.shape[1]).mean(1) for x in (audio, visual)))

    assert find_anatomy(NeedsFour(), vectors(8)).head == "head"
