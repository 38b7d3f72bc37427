"""How large each modality's logits are, and each class's among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from .. import formulas, schema
from ..observation import Need, Observation
from ._base import Probe

if TYPE_CHECKING:
    import xarray as xr

_QUANTITIES = {
    "norm": ("length of the logit vector", "imbalance_lens.formulas.logits.logit_norm"),
    "centered_norm": (
        "length of the logit vector without its mean",
        "imbalance_lens.formulas.logits.centered_logit_norm",
    ),
    "true_class_logit": (
        "logit of the true class",
        "imbalance_lens.formulas.logits.true_class_logit",
    ),
}


@dataclass(eq=False)
class LogitNorm(Probe):
    """Follows the size of the logits of each modality, and of the model, over the epochs.

    A modality whose logits grow faster than the others' decides what the sum of logits says
    (Zong et al., IJCAI 2024, Fig. 1, 5 and 6). Softmax sees no constant added to all logits, the
    norm does: compare it with `centered_norm`, which does not either.

    Cost: what reading the modalities' own logits costs. Memory: sums only, 48 (M + 1) C bytes per
    epoch for M modalities and C classes.

    Example:
        >>> audio, visual = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.5]])
        >>> seen = Observation(
        ...     labels=torch.tensor([1]),
        ...     logits=audio + visual,
        ...     modalities=("audio", "visual"),
        ...     modality_logits={"audio": audio, "visual": visual},
        ... )
        >>> probe = LogitNorm()
        >>> probe.observe(seen)
        >>> probe.result()["norm_ratio"].sel(epoch=0, modality="audio", other="visual").item()
        2.0
    """

    needs = (Need.LABELS, Need.MODALITY_LOGITS)
    _heads: dict[tuple[int, str], _Head] = field(default_factory=dict, init=False, repr=False)

    def observe(self, seen: Observation) -> None:
        """Take in the logits of one batch, of each modality and of the model."""
        for name, logits in {**seen.modality_logits, schema.JOINT: seen.logits}.items():
            self._head(seen.epoch, name, logits.shape[1]).update(logits, seen.labels)

    def merge(self, other: Self) -> None:
        """Take in the sums of another copy, epoch by epoch."""
        for (epoch, name), head in other._heads.items():
            self._head(epoch, name, head.classes).merge(head)

    def result(self) -> xr.Dataset:
        """Return the sizes over (epoch, head, label), their means, and the modalities' ratios.

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        if not self._heads:
            raise self.nothing_seen()
        epochs = sorted({epoch for epoch, _ in self._heads})
        names = list(dict.fromkeys(name for _, name in self._heads))
        modalities = [name for name in names if name != schema.JOINT]

        def table(read: Callable[[_Head], Tensor]) -> np.ndarray:
            rows = [[read(self._heads[epoch, name]) for name in names] for epoch in epochs]
            return torch.stack([torch.stack(row) for row in rows]).cpu().numpy()

        variables = {
            "count": schema.variable(
                ("epoch", "label"),
                table(lambda head: head.counts)[:, 0].astype(np.int64),
                units="example",
                long_name="examples of a class",
                formula="imbalance_lens.formulas.running.ClassSums",
            ),
            "std_norm": schema.variable(
                ("epoch", "head"),
                table(lambda head: head.norms.std),
                units="logit",
                long_name="standard deviation over the examples of the length of the logit vector",
                formula="imbalance_lens.formulas.running.Moments",
            ),
        }
        for quantity, (described, formula) in _QUANTITIES.items():
            variables[quantity] = schema.variable(
                ("epoch", "head", "label"),
                table(lambda head, of=quantity: head.sums[of].mean),
                units="logit",
                long_name=f"mean {described}, on the examples of a class",
                formula=formula,
            )
            variables[f"mean_{quantity}"] = schema.variable(
                ("epoch", "head"),
                table(lambda head, of=quantity: head.mean(of)),
                units="logit",
                long_name=f"mean {described}, over all examples",
                formula=formula,
            )
        norms = variables["mean_norm"].values[:, [names.index(name) for name in modalities]]
        with np.errstate(divide="ignore", invalid="ignore"):  # a silent modality: infinite or NaN
            ratios = norms[:, :, None] / norms[:, None, :]
        variables["norm_ratio"] = schema.variable(
            ("epoch", "modality", "other"),
            ratios,
            units="1",
            long_name="mean length of the logit vector, relative to that of the other modality",
            formula=_QUANTITIES["norm"][1],
        )
        return schema.dataset(
            variables,
            {
                "epoch": epochs,
                "head": names,
                "label": np.arange(variables["count"].shape[1]),
                "modality": modalities,
                "other": modalities,
            },
            settings=self.settings(),
        )

    def _head(self, epoch: int, name: str, classes: int) -> _Head:
        if (epoch, name) not in self._heads:
            self._heads[epoch, name] = _Head(classes)
        return self._heads[epoch, name]


class _Head:
    """The sums of one head in one epoch."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.sums = {quantity: formulas.ClassSums(classes) for quantity in _QUANTITIES}
        self.norms = formulas.Moments()

    @property
    def counts(self) -> Tensor:
        return self.sums["norm"].counts

    def mean(self, quantity: str) -> Tensor:
        return self.sums[quantity].sums.sum() / self.counts.sum()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        norms = formulas.logit_norm(logits)
        self.norms.update(norms)
        self.sums["norm"].update(norms, labels)
        self.sums["centered_norm"].update(formulas.centered_logit_norm(logits), labels)
        self.sums["true_class_logit"].update(formulas.true_class_logit(logits, labels), labels)

    def merge(self, other: _Head) -> None:
        self.norms.merge(other.norms)
        for quantity, sums in self.sums.items():
            sums.merge(other.sums[quantity])


PROBE = LogitNorm
