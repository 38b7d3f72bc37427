"""Parameters that recipes have made, or that the optimizer is to treat apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from imbalance_lens.errors import NotAttachedError, SettingError

Groups = Sequence[Mapping[str, Any]]
"""As `Optimizer.add_param_group` takes them: each has "params", and settings that are its own."""


def held(groups: Groups) -> set[nn.Parameter]:
    """Return all parameters of some groups."""
    return {parameter for group in groups for parameter in group["params"]}


def join_(optimizer: Optimizer, groups: Groups) -> None:
    """Give an optimizer the groups; what it has already is left where it is."""
    known = held(optimizer.param_groups)
    named = any("param_names" in group for group in optimizer.param_groups)  # then all must be
    names = (f"added.{number}" for number in itertools.count())
    for group in groups:
        if new := [parameter for parameter in group["params"] if parameter not in known]:
            given = list(zip(names, new, strict=False)) if named else new
            optimizer.add_param_group({**group, "params": given})


def check_joined(optimizer: Optimizer, groups: Groups, heads: Iterable[nn.Parameter]) -> None:
    """Complain of an optimizer that would leave out what recipes have made.

    Raises:
        SettingError: it lacks parameters of the groups, or of unimodal heads.
    """
    if not held(optimizer.param_groups).issuperset(p for p in heads if p.requires_grad):
        raise SettingError(
            "The optimizer does not have the parameters of the unimodal heads, so they would never "
            "train. Make it of [*model.parameters(), *remedy.parameters()], with remedy from "
            "recipes.attach(...)."
        )
    if not held(groups) <= held(optimizer.param_groups):
        raise SettingError(
            "A recipe has given the model parameters that the optimizer does not have, so they "
            "would never train. After recipes.attach(...) as remedy, call "
            "optimizer.add_param_group(group) for every group in remedy.parameter_groups."
        )


def check_wrapped(model: nn.Module, groups: Groups, before: Iterable[nn.Parameter]) -> None:
    """Complain of new parameters in a model that is wrapped already.

    Args:
        model: as the user gave it, perhaps wrapped.
        groups: of all recipes.
        before: the model's parameters before `on_fit_start`.

    Raises:
        NotAttachedError: DistributedDataParallel would leave them out.
    """
    if isinstance(model, DistributedDataParallel) and held(groups) - set(before):
        raise NotAttachedError(
            "A recipe gives the model parameters, and DistributedDataParallel averages the "
            "gradients of those only that were there when it was made. Give the model itself, and "
            "wrap it afterwards; recipes.apply does so by itself."
        )
