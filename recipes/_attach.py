"""Recipes in a loop of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from imbalance_lens import checks
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.outputs import LogitsOf

from ._compose import RecipeChoice, chosen_recipes
from ._treatment import Loss, Treatment


def attach(
    recipe: RecipeChoice | Iterable[RecipeChoice],
    model: nn.Module,
    inputs: Any,
    *,
    anatomy: Anatomy | Mapping[str, str] | None = None,
    heads: Mapping[str, nn.Module] | None = None,
    readout: str = "auto",
    logits: LogitsOf | None = None,
    loss: Loss | None = None,
    seed: int | None = None,
    **settings: Any,
) -> Treatment:
    """Attach recipes to a model that a loop of one's own trains.

    The same code runs as in `apply`, so the parameters become the same, bit by bit.

    Args:
        recipe: as `apply` takes it.
        model: the model, also wrapped in DistributedDataParallel; not compiled.
        inputs: of one batch; the model runs on them once, frozen.
        anatomy: as `apply` takes it.
        heads: as `apply` takes it.
        readout: as `apply` takes it.
        logits: as `apply` takes it.
        loss: of the unimodal heads. Default: cross-entropy.
        seed: of the noise. Default: drawn from the process's random state.
        settings: of the recipes.

    Returns:
        A context manager; its methods `batch`, `loss`, `gradients` and `close_epoch` are to be
        called by the loop.

    Example:
        >>> import torch
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> with attach("ogm_ge", model, next(iter(loader))[0], alpha=0.5) as remedy:
        ...     for inputs, labels in loader:
        ...         inputs, labels = remedy.batch(inputs, labels)
        ...         loss = remedy.loss(nn.functional.cross_entropy(model(**inputs), labels))
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         remedy.gradients(optimizer)
        ...         _ = optimizer.step()
        >>> remedy.history.dataset({})["step_ratio"].sizes["step"] == len(loader)
        True
    """
    if seed is not None:
        checks.whole("seed", seed, 0)
    return Treatment(
        chosen_recipes(recipe, settings),
        model,
        inputs,
        anatomy=anatomy,
        heads=heads,
        readout=readout,
        logits=logits,
        loss=loss,
        seed=seed,
    )
