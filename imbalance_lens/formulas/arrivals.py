"""Orders of arrival: Shapley values where there are too many coalitions for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast
from .coalitions import check_complete


def antithetic_orders(modalities: Sequence[str], pairs: int, seed: int) -> list[tuple[str, ...]]:
    """Draw orders of arrival in pairs: each one, and the same backwards.

    Whoever comes early in one order comes late in its mirror image, so that the errors of the two
    cancel in part (Mitchell et al., JMLR 2022).

    Args:
        modalities: their names; how they are ordered makes no difference.
        pairs: how many orders are drawn.
        seed: of the draws; the global random state is not touched.

    Returns:
        2 x `pairs` orders, each followed by its mirror image.

    Raises:
        SettingError: `pairs` is not above 0.

    Example:
        >>> antithetic_orders(["visual", "audio", "text"], pairs=1, seed=0)
        [('visual', 'audio', 'text'), ('text', 'audio', 'visual')]
    """
    checks.positive("pairs", pairs)
    names = sorted(modalities)
    generator = torch.Generator().manual_seed(seed)
    drawn = (torch.randperm(len(names), generator=generator).tolist() for _ in range(pairs))
    orders = (tuple(names[place] for place in places) for places in drawn)
    return [each for order in orders for each in (order, order[::-1])]


def arrivals(order: Sequence[str]) -> list[frozenset[str]]:
    """List who is there before anyone, after the first, after the second, and so on.

    Example:
        >>> [sorted(present) for present in arrivals(["visual", "audio"])]
        [[], ['visual'], ['audio', 'visual']]
    """
    return [frozenset(order[:count]) for count in range(len(order) + 1)]


def arrival_gains(
    values: Mapping[frozenset[str], Tensor], order: Sequence[str]
) -> dict[str, Tensor]:
    """Return what each modality adds to those that arrived before it.

    Equation: v(S + m) - v(S), S being those before m. Its mean over all orders is the Shapley
    value (Shapley, 1953), its mean over some drawn at random an unbiased estimate of it (Castro,
    Gomez and Tejada, 2009). In each order the gains sum to v(all) - v(none).

    Args:
        values: v(S) for each S in `arrivals(order)`.
        order: all modalities.

    Returns:
        One tensor per modality, in the values' unit and shape, in the order of arrival.

    Raises:
        SettingError: the value of a coalition is missing; the message names it.

    Example:
        >>> value = {(): 0.1, ("visual",): 0.3, ("audio", "visual"): 0.7}
        >>> values = {frozenset(s): torch.tensor(v) for s, v in value.items()}
        >>> arrival_gains(values, ["visual", "audio"])
        {'visual': tensor(0.2000), 'audio': tensor(0.4000)}
    """
    present = arrivals(order)
    check_complete(values, present)
    stations = [upcast(values[members]) for members in present]
    gains = (after - before for before, after in pairwise(stations))
    return dict(zip(order, gains, strict=True))
