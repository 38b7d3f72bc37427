"""Coalitions: what the model says when only some modalities are present."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from math import comb

import torch
from torch import Tensor

from .. import checks
from ..errors import SettingError
from ._precision import upcast


def coalitions(modalities: Collection[str]) -> list[frozenset[str]]:
    """List all subsets of the modalities, the small ones first.

    Args:
        modalities: their names.

    Returns:
        2^M sets in order of size, the empty one first; within a size in the modalities' order.

    Example:
        >>> [sorted(members) for members in coalitions(["audio", "visual"])]
        [[], ['audio'], ['visual'], ['audio', 'visual']]
    """
    sizes = range(len(modalities) + 1)
    return [frozenset(members) for size in sizes for members in combinations(modalities, size)]


def shapley_values(values: Mapping[frozenset[str], Tensor]) -> dict[str, Tensor]:
    """Share the value of all modalities together out among them.

    Equation: phi_m = sum_{S without m} |S|! (M-|S|-1)! / M! (v(S + m) - v(S)) (Shapley, 1953).
    The shares sum to v(all) - v(none). A negative share is no mistake: adding a modality can
    lower the value.

    Args:
        values: v(S) for each of the 2^M subsets, the empty one too: scalars or tensors of one
            shape, such as accuracies, per-example scores or logits.

    Returns:
        One tensor per modality, in the values' unit and shape, in the order in which the
        single modalities stand in `values`.

    Raises:
        SettingError: the value of a coalition is missing; the message names it.

    Example:
        >>> value = {(): 0.1, ("audio",): 0.6, ("visual",): 0.3, ("audio", "visual"): 0.7}
        >>> shares = shapley_values({frozenset(s): torch.tensor(v) for s, v in value.items()})
        >>> shares
        {'audio': tensor(0.4500), 'visual': tensor(0.1500)}
    """
    check_complete(values)
    raised = {members: upcast(value) for members, value in values.items()}
    names = players(values)
    return {name: _share(name, names, raised) for name in names}


def additivity_gap(all_logits: Tensor, none_logits: Tensor, alone: Mapping[str, Tensor]) -> Tensor:
    """Return how far the logits are from a sum of one part per modality.

    Equation: |v(N) - v(0) - sum_m (v(m) - v(0))| / |v(N) - v(0)|, Euclidean norms over the
    whole batch.

    Args:
        all_logits: (batch, classes) with every modality present.
        none_logits: (batch, classes) with none.
        alone: (batch, classes) with one modality present, for each.

    Returns:
        Dimensionless scalar: 0 for a head that adds (a linear one over a sum or a
        concatenation), up to rounding; the share of the logits that needs several modalities
        at once otherwise. NaN where no modality changes the logits.

    Raises:
        SettingError: fewer than two modalities, or shapes that differ.

    Example:
        >>> audio, visual, none = torch.eye(3).split(1)
        >>> alone = {"audio": audio + none, "visual": visual + none}
        >>> additivity_gap(audio + visual + none, none, alone)
        tensor(0.)
    """
    checks.modalities(alone)
    for name, logits in [("none_logits", none_logits), *alone.items()]:
        wanted = f"of the shape of all_logits, {tuple(all_logits.shape)}"
        checks.shape(name, logits, wanted, logits.shape == all_logits.shape)
    none = upcast(none_logits)
    gained = upcast(all_logits) - none
    parts = torch.stack([upcast(logits) - none for logits in alone.values()]).sum(0)
    return torch.linalg.vector_norm(gained - parts) / torch.linalg.vector_norm(gained)


def _share(name: str, names: list[str], values: Mapping[frozenset[str], Tensor]) -> Tensor:
    others = [other for other in names if other != name]
    gains = [
        (values[members | {name}] - values[members]) / comb(len(others), len(members))
        for members in coalitions(others)
    ]
    return torch.stack(gains).sum(0) / len(names)


def players(values: Mapping[frozenset[str], Tensor]) -> list[str]:
    """List the modalities in the order in which they stand alone in `values`."""
    return [name for members in values if len(members) == 1 for name in members]


def check_complete(
    values: Mapping[frozenset[str], Tensor], wanted: Iterable[frozenset[str]] | None = None
) -> None:
    """Complain unless `values` holds the wanted coalitions; all there can be, if not said."""
    for members in values:
        if not isinstance(members, frozenset):
            raise SettingError(
                f"A coalition must be a frozenset of modalities; got {members!r}. "
                "Make it with frozenset([...])."
            )
    wanted = list(wanted or coalitions(sorted(frozenset().union(*values))))
    missing = [members for members in wanted if members not in values]
    if missing:
        named = ", ".join(f"{{{', '.join(sorted(members))}}}" for members in missing[:4])
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise SettingError(
            f"The values of all {len(wanted)} coalitions are needed, of the empty one too; "
            f"missing: {named}{more}."
        )
