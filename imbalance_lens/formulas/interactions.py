"""Interactions: what modalities are worth together that none of them is worth alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import comb

import torch
from torch import Tensor

from ._precision import upcast
from .coalitions import check_complete, coalitions, players


def shapley_interactions(values: Mapping[frozenset[str], Tensor]) -> dict[frozenset[str], Tensor]:
    """Return what each pair of modalities gains by being there both.

    Equation: I_ij = sum_{S without i, j} |S|! (M-|S|-2)! / (M-1)!
    (v(S+i+j) - v(S+i) - v(S+j) + v(S)) (Grabisch and Roubens, 1999, the index of order 2). With
    two modalities it is v(ij) - v(i) - v(j) + v(none).

    Args:
        values: v(S) for each of the 2^M subsets, as for `shapley_values`; M >= 2.

    Returns:
        One tensor per pair, in the values' unit and shape: above 0 where the two need each other
        (synergy), below 0 where they say the same (redundancy), 0 for values that add up.

    Raises:
        SettingError: the value of a coalition is missing; the message names it.

    Example:
        >>> value = {(): 0.1, ("audio",): 0.6, ("visual",): 0.3, ("audio", "visual"): 0.7}
        >>> pairs = shapley_interactions({frozenset(s): torch.tensor(v) for s, v in value.items()})
        >>> pairs[frozenset({"audio", "visual"})]
        tensor(-0.1000)
    """
    check_complete(values)
    raised = {members: upcast(value) for members, value in values.items()}
    pairs = map(frozenset, combinations(players(raised), 2))
    return {pair: _interaction(pair, raised) for pair in pairs}


def cooperation(values: Mapping[frozenset[str], Tensor]) -> Tensor:
    """Return the share of the value that no modality brings in alone.

    Equation: (v(N) - v(0) - sum_m (v(m) - v(0))) / (v(N) - v(0)). The numerator is the sum of the
    Harsanyi dividends of all sets of two or more modalities; for two it is their interaction.

    Args:
        values: v(S) for none, for each single modality and for all; others are not looked at.

    Returns:
        Dimensionless, of the values' shape: 0 where values add up, 1 where single modalities are
        worth nothing, below 0 where they repeat each other. NaN or infinite where all together
        are worth no more than none.

    Raises:
        SettingError: the value of none, or of all, is missing.

    Example:
        >>> value = {(): 0.1, ("audio",): 0.6, ("visual",): 0.3, ("audio", "visual"): 0.7}
        >>> cooperation({frozenset(s): torch.tensor(v) for s, v in value.items()})
        tensor(-0.1667)
    """
    names = sorted(frozenset().union(*values))
    needed = [frozenset(), *(frozenset({name}) for name in names), frozenset(names)]
    check_complete(values, needed)
    none = upcast(values[frozenset()])
    gained = upcast(values[frozenset(names)]) - none
    alone = torch.stack([upcast(values[frozenset({name})]) - none for name in names]).sum(0)
    return (gained - alone) / gained


def _interaction(pair: frozenset[str], values: Mapping[frozenset[str], Tensor]) -> Tensor:
    one, other = sorted(pair)
    rest = sorted(max(values, key=len) - pair)
    terms = [
        (
            (values[members | pair] - values[members | {one}])
            - (values[members | {other}] - values[members])
        )
        / comb(len(rest), len(members))
        for members in coalitions(rest)
    ]
    return torch.stack(terms).sum(0) / (len(rest) + 1)
