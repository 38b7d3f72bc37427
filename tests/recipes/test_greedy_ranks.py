"""Two ranks measure and decide as one process would, also where parameters are spread over them."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import recipes
from recipes import _distributed as ranks
from recipes.greedy import Greedy

from .gated import batches_of, net
from .test_ranks import started_ranks

GREEDY: dict[str, Any] = {"alpha": 0.2, "window": 2, "warmup": 0}


def told(history: Any) -> dict[str, torch.Tensor]:
    names = ("step_conditional_speed", "step_rebalanced")
    return {name: torch.tensor(history[name].values) for name in names}


def trained(rank: int) -> dict[str, Any]:
    """The same global batches, whatever the number of ranks."""
    examples = [
        ({m: x[i] for m, x in inputs.items()}, labels[i])
        for inputs, labels in batches_of()
        for i in range(len(labels))
    ]
    fit = recipes.apply(
        Greedy(**GREEDY),
        net(),
        DataLoader(examples, 8 // ranks.world_size()),  # pyright: ignore[reportArgumentType]
        epochs=2,
        optimizer=partial(torch.optim.SGD, lr=0.2),
        seed=0,
        device="cpu",
    )
    return told(fit.history) | {name: p.detach() for name, p in fit.model.named_parameters()}


def sharded(rank: int) -> dict[str, Any]:
    """A loop of one's own around a model whose parameters are spread over the ranks."""
    from torch.distributed.fsdp import fully_shard

    model = net()
    layers = [m for m in model.modules() if not [*m.children()] and [*m.parameters()]]
    for part in (*layers, model):
        fully_shard(part)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    half = slice(rank, None, 2)
    first = {m: x[half] for m, x in batches_of()[0][0].items()}
    with recipes.attach("greedy", model, first, **GREEDY) as remedy:
        for inputs, labels in batches_of():
            own, answers = remedy.batch({m: x[half] for m, x in inputs.items()}, labels[half])
            optimizer.zero_grad()
            remedy.loss(nn.functional.cross_entropy(model(**own), answers)).backward()
            remedy.gradients(optimizer)
            optimizer.step()
        return told(remedy.history.dataset({}))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return started_ranks(tmp_path_factory.mktemp("ranks"), [trained, sharded])


@pytest.mark.parametrize("part", ["trained", "sharded"])
def test_two_ranks_do_as_one_does(answers, part: str) -> None:
    alone = trained(0)
    assert alone["step_rebalanced"].any()
    for answer in answers:
        for name, expected in answer[part].items():
            own = alone[name][: len(expected)]  # the sharded training is one epoch long
            torch.testing.assert_close(expected, own, rtol=1e-9, atol=1e-12)
