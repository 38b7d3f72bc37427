"""OLM: train every head on logits that a learned coefficient brings to a length of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import checks, schema
from imbalance_lens.batches import device_of
from imbalance_lens.formulas import logit_norm

from ._base import Card, Recipe, Run, Seen, Want
from ._distributed import sum_over_ranks
from ._history import Quantity
from ._losses import head_losses, plus
from ._olm.head_losses import HeadLosses
from ._olm.scaled_logits import scaled

__all__ = ["CARD", "RECIPE", "Olm", "modulation_loss", "rebalancing_factors", "scaled"]

CARD = Card(
    title="OLM, Online Logit Modulation",
    paper="Zong et al., Balancing Multimodal Learning via Online Logit Modulation, IJCAI 2024",
    equations="eq. 6 to 9 and algorithm 1",
    events=(
        *("on_fit_start", "on_batch", "on_loss", "on_gradients", "on_step_end", "on_epoch_end"),
    ),
    touches=("loss",),
    needs="val=, a loader of held-out examples that are neither trained nor tested on; one trained "
    "unimodal head per modality, linear on pooled features if none is given; in a loop of one's "
    "own train=, a loader of training examples, and loss=, where it is not the cross-entropy",
    defaults="lr=0.001 is that of the authors' code for convolutional encoders, there with Adam; "
    "every and eval_batches are ours",
    deviations=(
        "form='floored' keeps the signs in eq. 6 and 7: with absolute values, form='paper', a loss "
        "that got worse is rewarded, and C is 0 at the start; form='code' is the authors' code, "
        "whose floor of 1e-6 lets one head take all. The floor is 5 % of the largest C, and G / C "
        "lies in 0 to 3",
        "scale_targets=True multiplies the targets by the number of heads: the factors sum to 1, "
        "and so with eq. 9 as written the only rest is at coefficients of 0",
        "the coefficients learn from eq. 9 alone, as in algorithm 1; in the authors' code also "
        "from the heads' losses: official_grad=True",
        "one step of the coefficients per step of the optimizer, from where they are; algorithm 1 "
        "begins at 1 every time",
        "the losses at the start are measured before the first step; in the authors' code they are "
        "those at the end of the first epoch",
        "the losses are means over fixed examples in eval mode, every so many steps; in the "
        "authors' code sums over a batch in train mode, at every step",
        "coefficients stay at 0.001 or more, as a negative one turns predictions around",
    ),
    rests_on=("logit_norm",),
)

FORMS = ("floored", "paper", "code")
LEAST = 1e-3
_FLOOR_SHARE, _LARGEST_RATIO, _TINY, _CODE_FLOOR = 0.05, 3.0, 1e-8, 1e-6

COEFFICIENT, FACTOR, NORM = (
    Quantity(name, units, meaning, formula, over="head")
    for name, units, meaning, formula in (
        ("logit_coefficient", "1", "factor on the head's logits", "recipes.olm.Olm"),
        (
            *("rebalancing_factor", "1", "share of the mean logit length meant for the head"),
            "recipes.olm.rebalancing_factors",
        ),
        (
            *("logit_norm", "logit", "mean length of the head's logits, before the coefficient"),
            "imbalance_lens.formulas.logits.logit_norm",
        ),
    )
)


def rebalancing_factors(
    train_start: Tensor,
    dev_start: Tensor,
    train: Tensor,
    dev: Tensor,
    *,
    form: str = "floored",
) -> Tensor:
    """Return what share of the mean logit length each head is to have.

    Equation: lambda = softmax over heads of G / C, with G = |dev_0 - dev_n| and C = ||dev_n -
    train_n| - |dev_0 - train_0|| (Zong et al., IJCAI 2024, eq. 6 to 8): form "paper". Form
    "floored": G = max(dev_0 - dev_n, 0), C = max(growth of dev - train, 5 % of the largest such),
    and G / C is at most 3. Form "code": both with their sign and at least 1e-6, the authors' code.

    Args:
        train_start: (heads,), mean training losses before the training.
        dev_start: (heads,), held-out losses then.
        train: (heads,), training losses now.
        dev: (heads,), held-out losses now.
        form: "floored", "paper" or "code".

    Returns:
        (heads,), above 0, of sum 1; all equal at the start.

    Raises:
        SettingError: an unknown form, or shapes that do not fit.

    Example:
        >>> start, now = torch.tensor([1.9, 1.8]), torch.tensor([1.3, 1.2])
        >>> train = torch.tensor([1.0, 0.4])
        >>> rebalancing_factors(torch.tensor([1.8, 1.8]), start, train, now)
        tensor([0.9047, 0.0953])
    """
    checks.one_of("form", form, FORMS)
    given = {"train_start": train_start, "dev_start": dev_start, "train": train, "dev": dev}
    for name, losses in given.items():
        fits = losses.ndim == 1 and losses.shape == dev.shape
        checks.shape(name, losses, "(heads,), the same for all losses", fits)
    if form == "paper":
        gain = (dev_start - dev).abs()
        growth = ((dev - train).abs() - (dev_start - train_start).abs()).abs()
        return (gain / growth.clamp_min(_TINY)).softmax(0)
    if form == "code":
        gain = (dev_start - dev).clamp_min(_CODE_FLOOR)
        growth = (train_start - train - gain).clamp_min(_CODE_FLOOR)
        return (gain / growth).softmax(0)
    gain = (dev_start - dev).clamp_min(0)
    growth = ((dev - train) - (dev_start - train_start)).clamp_min(0)
    floor = _FLOOR_SHARE * growth.max() + _TINY
    return (gain / torch.maximum(growth, floor)).clamp_max(_LARGEST_RATIO).softmax(0)


def modulation_loss(
    coefficients: Tensor, norms: Tensor, factors: Tensor, *, scale_targets: bool = True
) -> Tensor:
    """Return how far the lengths of the weighted logits are from their targets.

    Equation: L_logit = mean over examples of sum_h |w_h ||s_h|| - K lambda_h s_bar| with s_bar =
    mean over heads of ||w_h s_h||, which is no function of w here (Zong et al., IJCAI 2024, eq. 9,
    where K is 1).

    Args:
        coefficients: w, (heads,); the gradient reaches nothing else.
        norms: (heads, batch), lengths of the logit vectors, see `imbalance_lens.formulas`.
        factors: lambda, (heads,), of sum 1.
        scale_targets: whether K is the number of heads; else 1, as in the paper.

    Returns:
        A scalar, in logits.

    Raises:
        SettingError: shapes that do not fit.

    Example:
        >>> lengths = torch.tensor([[5.0, 1.0], [10.0, 5.0]])
        >>> modulation_loss(torch.ones(2), lengths, torch.tensor([0.5, 0.5]))
        tensor(4.5000)
    """
    checks.shape("coefficients", coefficients, "(heads,)", coefficients.ndim == 1)
    fits = norms.ndim == 2 and len(norms) == len(coefficients)
    checks.shape("norms", norms, f"({len(coefficients)}, batch)", fits)
    checks.shape("factors", factors, "like coefficients", factors.shape == coefficients.shape)
    lengths = coefficients[:, None] * norms.detach()
    scale = len(coefficients) if scale_targets else 1
    targets = scale * factors.detach()[:, None] * lengths.detach().abs().mean(0)
    return (lengths - targets).abs().sum(0).mean()


@dataclass(eq=False, kw_only=True)
class Olm(Recipe):
    """Trains every head on weighted logits, and the weights on the lengths that these are to have.

    Args:
        val: loader of held-out examples, neither trained nor tested on; a few are kept.
        train: loader of training examples, of which a few are kept. Default: that of the loop.
        lr: learning rate of the coefficients; 0 is Multi-Loss.
        form: "floored", "paper" or "code", see `rebalancing_factors`.
        scale_targets: see `modulation_loss`.
        every: steps between two measurements of the losses.
        eval_batches: how many batches of each loader they are measured on.
        official_grad: whether the coefficients also learn from the heads' losses.

    Raises:
        SettingError: a value that is not allowed; when the training starts, no `val`.
    """

    val: Iterable[Any] | None = field(default=None, repr=False)
    train: Iterable[Any] | None = field(default=None, repr=False)
    lr: float = 1e-3
    form: str = "floored"
    scale_targets: bool = True
    every: int = 50
    eval_batches: int = 4
    official_grad: bool = False

    card = CARD
    multilabel = True
    _heads: tuple[str, ...] = field(default=(), init=False, repr=False)
    _losses: HeadLosses = field(init=False, repr=False)
    _weights: Tensor = field(init=False, repr=False)
    _proposed: Tensor = field(init=False, repr=False)
    _factors: Tensor = field(init=False, repr=False)
    _sums: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("lr", self.lr, 0)
        checks.one_of("form", self.form, FORMS)
        for name in ("every", "eval_batches"):
            checks.whole(name, getattr(self, name))

    @property
    def coefficients(self) -> dict[str, Tensor]:
        """Head -> its coefficient, 0-dim; the model's own is "joint". Empty before a training."""
        return dict(zip(self._heads, self._weights.unbind(), strict=True)) if self._heads else {}

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        return {Want.HEADS}

    def settings(self) -> dict[str, Any]:
        """Return the values of the init fields; of the loaders, what they are."""
        given = super().settings()
        kinds = {k: type(given[k]).__name__ for k in ("val", "train") if given[k] is not None}
        return given | kinds

    def on_fit_start(self, run: Run) -> None:
        """Take the examples that losses are measured on, and begin with coefficients of 1."""
        self._losses = HeadLosses(
            self.name, run, self.val, self.train, batches=self.eval_batches, every=self.every
        )
        self._heads = (*run.modalities, schema.JOINT)
        self._weights = torch.ones(len(self._heads), device=device_of(run.model))
        self._proposed, self._factors = self._weights, self._weights / len(self._heads)
        self._sums = None

    def on_batch(self, run: Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        """Measure the losses before a step, where it is time to."""
        if self._losses.look(run):
            self._factors = rebalancing_factors(*self._losses.start_and_now(), form=self.form)
        return inputs, labels

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:  # noqa: ARG002
        """Return the losses of all heads on their weighted logits, in place of the joint loss."""
        own = {**seen.modality_logits, schema.JOINT: seen.logits}
        weighted = {name: own[name] * weight for name, weight in self.coefficients.items()}
        joint = weighted.pop(schema.JOINT)
        total = plus(
            run.loss(joint, seen.labels), head_losses(run, replace(seen, modality_logits=weighted))
        )
        self._add(run, {name: own[name].detach() for name in self._heads}, seen.labels)
        return total

    def on_gradients(self, run: Run, seen: Seen) -> None:  # noqa: ARG002
        """Take a step with the coefficients, which counts once the optimizer has made its own."""
        if self._sums is None:
            return
        *sums, examples = sum_over_ranks(self._sums).unbind()
        gradient, norms = (torch.stack(sums) / examples).float().chunk(2)
        self._sums = None
        self._proposed = (self._weights - self.lr * gradient).clamp_min(LEAST)
        rows = {COEFFICIENT: self._weights, FACTOR: self._factors, NORM: norms}
        for quantity, row in (rows | self._losses.news()).items():
            run.record(quantity, dict(zip(self._heads, row.unbind(), strict=True)))

    def on_step_end(self, run: Run) -> None:
        """Take over the new coefficients, unless the optimizer left out its step."""
        self._weights = run.unless_skipped(self._proposed, self._weights)

    def on_epoch_end(self, run: Run) -> None:
        """Record the coefficients that belong to the weights of this epoch's end."""
        run.record_epoch(COEFFICIENT, dict(zip(self._heads, self._weights.tolist(), strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """Return the coefficients, the factors and the losses at the start."""
        return {"weights": self._weights, "factors": self._factors, "start": self._losses.start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        device = self._weights.device
        self._weights = self._proposed = state["weights"].to(device)
        self._factors = state["factors"].to(device)
        start = state["start"]
        self._losses.start = None if start is None else start.to(device)

    def _add(self, run: Run, logits: Mapping[str, Tensor], labels: Tensor) -> None:
        """Add the micro-batch to the step: the gradient of the coefficients, and the lengths."""
        norms = torch.stack([logit_norm(given).float() for given in logits.values()])
        with torch.enable_grad():
            weights = self._weights.detach().requires_grad_()
            loss = modulation_loss(weights, norms, self._factors, scale_targets=self.scale_targets)
            if self.official_grad:
                pairs = zip(logits.values(), weights.unbind(), strict=True)
                loss = loss + sum(run.loss(given * weight, labels) for given, weight in pairs)
            (gradient,) = torch.autograd.grad(loss, weights)
        row = torch.cat([gradient, norms.mean(1), torch.ones_like(gradient[:1])]) * len(labels)
        self._sums = row if self._sums is None else self._sums + row


RECIPE = Olm
