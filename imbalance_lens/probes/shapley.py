"""How much of the model's performance each modality contributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from .. import checks, schema
from ..observation import Need, Observation
from ._game import Game
from ._resampled import Resampled
from ._rows import Rows
from ._set_scores import class_means
from ._worth import WORTHS, common_units, worths

if TYPE_CHECKING:
    import xarray as xr

_EMPTY = ("model", "zero")
_SHARE = "imbalance_lens.formulas.coalitions.shapley_values"
_COOPERATION = "imbalance_lens.formulas.interactions.cooperation"
_INTERACTION = "imbalance_lens.formulas.interactions.shapley_interactions"


@dataclass(eq=False)
class Shapley(Resampled):
    """Shares the model's performance out among the modalities, for each example and over all.

    A modality's contribution is its Shapley value: what it adds to those that are there before
    it, on average over all orders of arrival (Shapley, 1953; for single examples Wei et al., CVPR
    2024). For each example the contributions sum to the value of all modalities less that of
    none. They may be negative, where a modality misleads the model.

    With up to `exact_up_to` modalities all 2^M sets are evaluated. Above, as many orders are
    drawn as `order_pairs` says, each with its mirror image; `sampling_error` then tells how far
    the mean contributions may be off (one standard error), and `interaction` is NaN.

    Cost: fusion and head once per set and batch, 2^M - 1 in all, or at most
    2 `order_pairs` (M - 2) + M + 1 where orders are drawn; no encoder, except with fill="input".
    Sets that another probe asks for with the same fill cost nothing more: for two or three
    modalities these are the sets of `zero_out`. Memory: 8 + 4 M V bytes per example, for V values.

    Args:
        values: what a set of modalities is worth to an example, one or more of "confidence"
            (probability of the true class), "correct" (its mean is the accuracy), "valuation"
            (the number of modalities present where the answer is right, else 0: Wei et al.'s);
            or "logit"; or "log_probability" (of the true class). Only values of one unit go
            together.
        fill: what stands for absent features: "zero"; "mean" of the batch; "permute", another
            example's; "input", the encoder's answer to a zero input.
        empty: what no modality at all is worth: what the "model" then says, or "zero". The
            valuation of none is 0 in any case.
        exact_up_to: the largest number of modalities for which all sets are evaluated.
        order_pairs: how many pairs of orders are drawn above that.
        per_example: also give the contributions to each example.
        resamples: number of bootstrap resamples behind the intervals.
        confidence_level: of the intervals.
        seed: of the resamples and of the orders.

    Raises:
        SettingError: an unknown value or `empty`, values of different units, or a number out of
            range.

    Example:
        >>> import torch
        >>> def coalitions(present, fill="zero", draw=0):  # right, if "audio" is there
        ...     return torch.tensor([[0.0, 1.0], [1.0, 0.0]]) * (2 * ("audio" in present) - 1)
        >>> names = ("audio", "visual")
        >>> seen = Observation(
        ...     labels=torch.tensor([1, 0]),
        ...     logits=coalitions(names),
        ...     modalities=names,
        ...     coalitions=coalitions,
        ... )
        >>> probe = Shapley()
        >>> probe.observe(seen)
        >>> probe.result()["contribution"].sel(value="correct").values
        array([1., 0.])
    """

    needs = (Need.LABELS, Need.COALITIONS)
    values: Sequence[str] = ("confidence", "correct")
    fill: str = "zero"
    empty: str = "model"
    exact_up_to: int = 8
    order_pairs: int = 16
    per_example: bool = True
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _classes: int = field(default=0, init=False, repr=False)
    _game: Game | None = field(default=None, init=False, repr=False)
    _rows: Rows = field(default_factory=Rows, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.values, str) or not isinstance(self.values, Iterable):
            self.values = (self.values,)
        self.values = tuple(self.values)
        self._units = common_units(self.values)
        checks.one_of("empty", self.empty, _EMPTY)
        checks.whole("order_pairs", self.order_pairs)
        checks.whole("exact_up_to", self.exact_up_to, 0)

    def observe(self, seen: Observation) -> None:
        """Evaluate the sets of modalities on one batch and share out what they are worth."""
        self._modalities, self._classes = seen.modalities, seen.logits.shape[1]
        self._game = self._game or self._new_game()
        values = {present: self._worth(present, seen) for present in self._game.sets}
        shares = self._game.share_out(values)
        self._rows.append(label=seen.labels.clone(), share=shares.float())

    def merge(self, other: Self) -> None:
        """Take in the examples of another copy."""
        if other._game is None:
            return
        self._modalities, self._classes = other._modalities, other._classes
        self._game = self._game or self._new_game()
        self._game.merge(other._game)
        self._rows.extend(other._rows)

    def result(self) -> xr.Dataset:
        """Return contributions, interactions, and what each set is worth.

        Raises:
            NotAttachedError: nothing was observed yet.
            NotApplicableError: the contributions do not sum to what all are worth over none.
        """
        if self._game is None:
            raise self.nothing_seen()
        self._game.check_sum()
        names, table = list(self._modalities), self._rows.on_host()
        examples = np.bincount(table["label"], minlength=self._classes)
        variables = {
            **self._contributions(self._game, table["share"]),
            **self._of_classes(table, examples),
            **self._of_sets(self._game),
        }
        coords: dict[str, Any] = {
            "modality": names,
            "other": names,
            "value": list(self.values),
            "coalition": [schema.coalition_name(s, names) for s in self._game.sets],
            "label": np.arange(self._classes),
            "bound": ["low", "high"],
        }
        if self.per_example:
            coords["example"] = np.arange(len(self._rows))
            variables["example_contribution"] = self._variable(
                ("example", "modality", "value"), table["share"], "contribution to one example"
            )
        return schema.dataset(
            variables,
            coords,
            settings=self.settings(),
            examples=len(self._rows),
            exact=self._game.is_exact,
            described={name: WORTHS[name].described for name in self.values},
        )

    def _new_game(self) -> Game:
        return Game(
            self._modalities,
            exact_up_to=self.exact_up_to,
            order_pairs=self.order_pairs,
            seed=self.seed,
        )

    def _worth(self, present: frozenset[str], seen: Observation) -> Tensor:
        if not present and self.empty == "zero":
            return seen.logits.new_zeros((len(seen.logits), len(self.values))).double()
        everyone = len(present) == len(seen.modalities)
        logits = seen.logits if everyone else seen.coalitions(present, fill=self.fill)
        return worths(self.values, logits, seen.labels, len(present))

    def _contributions(self, game: Game, shares: np.ndarray) -> dict[str, xr.Variable]:
        mean = game.shares.cpu().numpy()
        # Rounded, as a sum of thirds that is nothing must not sort by how it was added up.
        by_value = np.round(shares.astype(np.float64), 9).swapaxes(1, 2)
        draws = self.resample(by_value, self._modalities).swapaxes(1, 2)
        return {
            **self.estimate(
                "contribution",
                ("modality", "value"),
                mean,
                draws,
                units=self._units,
                long_name="mean contribution of the modality",
                formula=_SHARE,
            ),
            **self.estimate(
                "contribution_gap",
                ("modality", "other", "value"),
                mean[:, None] - mean[None, :],
                draws[:, :, None] - draws[:, None, :],
                units=self._units,
                long_name="mean contribution, minus that of the other modality",
                formula=_SHARE,
            ),
            "sampling_error": self._variable(
                ("modality", "value"),
                game.sampling_error.cpu().numpy(),
                "standard error of the mean contribution for the orders drawn; 0 where exact",
                "imbalance_lens.formulas.arrivals.arrival_gains",
            ),
        }

    def _of_classes(
        self, table: Mapping[str, np.ndarray], examples: np.ndarray
    ) -> dict[str, xr.Variable]:
        shares = table["share"]
        means = class_means(table["label"], shares.reshape(len(shares), -1), examples)
        return {
            "class_contribution": self._variable(
                ("modality", "value", "label"),
                means.reshape(*shares.shape[1:], -1),
                "mean contribution to the examples of a class",
            ),
            "class_examples": schema.variable(
                ("label",),
                examples,
                units="example",
                long_name="examples of a class",
                formula="numpy.bincount",
            ),
        }

    def _of_sets(self, game: Game) -> dict[str, xr.Variable]:
        return {
            "worth": self._variable(
                ("coalition", "value"),
                game.worth.cpu().numpy(),
                "mean value with only these modalities present",
                "imbalance_lens.formulas.running.Moments",
            ),
            "interaction": self._variable(
                ("modality", "other", "value"),
                game.interactions.cpu().numpy(),
                "mean value of the two together beyond that of each: synergy above 0, redundancy "
                "below",
                _INTERACTION,
            ),
            "cooperation": schema.variable(
                ("value",),
                game.cooperation.cpu().numpy(),
                units="1",
                long_name="share of the mean value of all over none that no modality has alone",
                formula=_COOPERATION,
            ),
        }

    def _variable(
        self, dims: Sequence[str], values: Any, long_name: str, formula: str = _SHARE
    ) -> xr.Variable:
        return schema.variable(
            dims, values, units=self._units, long_name=long_name, formula=formula
        )


PROBE = Shapley
