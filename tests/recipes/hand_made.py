"""A training made by hand, for recipes whose events are called one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_lens import Anatomy, formulas
from imbalance_lens.anatomy.linear_fusion import LinearFusion
from imbalance_lens.testing import PlantedModel
from recipes._base import Recipe, Run, Seen
from recipes._heads import UnimodalHeads

CLASSES = 4


def scores_of(**values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def numbers(found: Mapping[str, Tensor]) -> list[float]:
    return [value.item() for value in found.values()]


def run_of(modalities: Iterable[str] = ("audio", "visual"), *, seed: int = 0, **fields: Any) -> Run:
    """A run of a planted model, jittered so that no two gradients are equal."""
    names = tuple(modalities)
    model = PlantedModel(names, CLASSES)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    columns = {name: slice(CLASSES * k, CLASSES * (k + 1)) for k, name in enumerate(names)}
    given: dict[str, Any] = {
        "fusion": LinearFusion("head", names, columns, is_head=True),
        "heads": UnimodalHeads.linear({name: torch.ones(2, CLASSES) for name in names}, CLASSES),
        **fields,
    }
    anatomy = Anatomy(encoders={name: name for name in names}, head="head")
    return Run(model, anatomy, torch.Generator().manual_seed(seed), **given)


def batch_of(run: Run, size: int = 8, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    draw = torch.Generator().manual_seed(seed)
    inputs = {name: torch.randn(size, CLASSES, generator=draw) for name in run.modalities}
    return inputs, torch.arange(size) % CLASSES


def seen_of(scores: Mapping[str, Tensor], **fields: Any) -> Seen:
    given: dict[str, Any] = {
        "labels": torch.zeros(1, dtype=torch.int64),
        "logits": torch.zeros(1, CLASSES),
        "features": {},
        "modality_logits": {},
        "examples": torch.tensor(1),
        **fields,
    }
    return Seen(scores=scores, **given)


def backward(
    recipe: Recipe,
    run: Run,
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    scores: Mapping[str, Tensor] | None = None,
) -> Seen:
    """One micro-batch up to its gradients, with the scores of the heads if none are given."""
    assert isinstance(run.model, PlantedModel)
    assert run.heads is not None
    inputs, labels = recipe.on_batch(run, inputs, labels)
    clean = {name: run.model.get_submodule(name)(inputs[name]) for name in run.modalities}
    own = run.heads(clean)
    if scores is None:
        scores = {n: formulas.label_confidence(z.detach(), labels).sum() for n, z in own.items()}
    run.scores, run.features = scores, clean
    features = [recipe.on_features(run, name, clean[name]) for name in run.modalities]
    logits = run.model.head(torch.cat(features, dim=1))
    seen = Seen(labels, logits, clean, own, scores, torch.tensor(len(labels)))
    recipe.on_loss(run, seen, run.loss(logits, labels)).backward()
    run.micro_step += 1
    return seen


def step(
    recipe: Recipe,
    run: Run,
    optimizer: torch.optim.Optimizer,
    scores: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> None:
    run.optimizer = optimizer
    optimizer.zero_grad()
    seen = backward(recipe, run, *batch_of(run, seed=seed), scores)
    recipe.on_gradients(run, seen)
    optimizer.step()
    recipe.on_step_end(run)
    run.step += 1


def weights(run: Run) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in run.model.named_parameters()}


def trained(
    recipe: Recipe,
    optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
    *,
    steps: int = 3,
    scores: Mapping[str, Tensor] | None = None,
    modalities: Iterable[str] = ("audio", "visual"),
    **settings: Any,
) -> dict[str, Tensor]:
    """The model's and the heads' parameters after some steps."""
    torch.manual_seed(0)
    run = run_of(modalities)
    assert run.heads is not None
    recipe.on_fit_start(run)
    both = [p for p in [*run.model.parameters(), *run.heads.parameters()] if p.requires_grad]
    made = optimizer(both, **{"lr": 0.1, **settings})
    for number in range(steps):
        step(recipe, run, made, scores, seed=number)
    recipe.on_fit_end(run)
    heads = {f"heads.{n}": p.detach().clone() for n, p in run.heads.named_parameters()}
    return {**weights(run), **heads, "random state": torch.get_rng_state()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [p.grad.clone() for p in parameters if p.grad is not None]
