"""A game of modalities: what sets of them are worth, shared out and summed over the examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .. import formulas
from ..errors import NotApplicableError
from ..formulas import Moments

_TOLERANCE = 1e-9  # of a sum in double precision, relative to what the sets are worth
_Values = Mapping[frozenset[str], Tensor]


class Game:
    """Shares out what all modalities are worth over none, example by example.

    Args:
        modalities: the players.
        exact_up_to: the largest number of them for which all sets are valued.
        order_pairs: how many pairs of orders of arrival are drawn above that.
        seed: of the orders.

    Attributes:
        sets: those to be valued, none of the modalities first and all of them last.
        is_exact: whether these are all sets.
    """

    def __init__(
        self, modalities: Sequence[str], *, exact_up_to: int, order_pairs: int, seed: int
    ) -> None:
        self.is_exact = len(modalities) <= exact_up_to
        if self.is_exact:
            self.sets = formulas.coalitions(modalities)
        else:
            self._orders = formulas.antithetic_orders(modalities, order_pairs, seed)
            alone = [frozenset({name}) for name in modalities]  # for the cooperation
            met = {present for order in self._orders for present in formulas.arrivals(order)}
            by_size = sorted(met.difference(alone), key=lambda s: (len(s), sorted(s)))
            self.sets = [by_size[0], *alone, *by_size[1:]]
        self._modalities = tuple(modalities)
        self._worth, self._shares = Moments(), Moments()
        self._pairs, self._drawn = Moments(), Moments()
        self._gap: Tensor | None = None

    @property
    def worth(self) -> Tensor:
        """What each set is worth on average, (sets, values)."""
        return self._worth.mean

    @property
    def shares(self) -> Tensor:
        """What each modality contributes on average, (modalities, values)."""
        return self._shares.mean

    @property
    def cooperation(self) -> Tensor:
        """The share of the worth that no modality has alone, (values,)."""
        return formulas.cooperation(dict(zip(self.sets, self.worth, strict=True)))

    @property
    def interactions(self) -> Tensor:
        """What pairs are worth beyond their parts, (modalities, modalities, values)."""
        size = len(self._modalities)
        table = self.shares.new_full((size, size, self.shares.shape[1]), torch.nan)
        if self.is_exact:
            one, other = torch.triu_indices(size, size, 1)
            table[one, other] = table[other, one] = self._pairs.mean
        return table

    @property
    def sampling_error(self) -> Tensor:
        """The standard error of `shares` for the choice of the orders, (modalities, values)."""
        if self.is_exact:
            return torch.zeros_like(self.shares)
        return self._drawn.mean.std(0) / len(self._drawn.mean) ** 0.5

    def share_out(self, values: _Values) -> Tensor:
        """Take in what each of `sets` is worth, (batch, values) each.

        Returns:
            (batch, modalities, values), the contributions to each example.
        """
        every = torch.stack([values[present] for present in self.sets], 1)
        if self.is_exact:
            shares = torch.stack(list(formulas.shapley_values(values).values()), 1)
            pairs = formulas.shapley_interactions(values)
            self._pairs.update(torch.stack(list(pairs.values()), 1))
        else:
            drawn = self._gains(values)
            shares = drawn.mean(1)
            self._drawn.update(drawn)
        self._worth.update(every)
        self._shares.update(shares)
        gap = (shares.sum(1) - (every[:, -1] - every[:, 0])).abs() / (1 + every.abs().amax(1))
        # Logits that are not finite have no such sum, and must not hide another that is wrong.
        self._note(gap.masked_fill(gap.isnan(), 0).amax())
        return shares

    def merge(self, other: Game) -> None:
        """Take in the sums of another game of the same modalities."""
        self._worth.merge(other._worth)
        self._shares.merge(other._shares)
        self._pairs.merge(other._pairs)
        self._drawn.merge(other._drawn)
        if other._gap is not None:
            self._note(other._gap)

    def check_sum(self) -> None:
        """Complain unless all contributions to an example sum to what all are worth over none.

        Raises:
            NotApplicableError: they do not.
        """
        if self._gap is not None and self._gap > _TOLERANCE:
            raise NotApplicableError(
                "The contributions to an example do not sum to what all modalities are worth over "
                f"none (off by {float(self._gap):.3g} of it, allowed is {_TOLERANCE:.3g}). The "
                "numbers are wrong; please report this with the model that it happened on."
            )

    def _gains(self, values: _Values) -> Tensor:
        """Return the mean gains over each pair of orders, (batch, pairs, modalities, values)."""
        gains = [formulas.arrival_gains(values, order) for order in self._orders]
        table = [torch.stack([gain[name] for name in self._modalities], 1) for gain in gains]
        return torch.stack(table, 1).unflatten(1, (-1, 2)).mean(2)

    def _note(self, gap: Tensor) -> None:
        self._gap = gap if self._gap is None else self._gap.maximum(gap.to(self._gap.device))
