"""How much a single step would overfit, from gradients at one state of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from .. import formulas, schema
from ..errors import NotApplicableError
from ..observation import Need, Observation
from ._base import Probe

if TYPE_CHECKING:
    import xarray as xr


@dataclass(eq=False)
class GradientOgr(Probe):
    """Compares the gradients of the training and of the held-out loss, state by state.

    The overfitting-to-generalization ratio of a step down the training gradient (Wang et al., CVPR
    2020, eq. 4): of each modality's own loss on its encoder's parameters, and of the joint loss
    on those of all encoders. One state is enough, unlike for `ogr`. The gradients are means over
    all examples of the two sets, in eval mode.

    Cost: per batch of both sets, one forward and M + 1 backward passes of the whole model. Memory:
    four gradients of every encoder's parameters.

    Example:
        >>> from imbalance_lens.observation import Gradients
        >>> def state(training, gradient):
        ...     found = Gradients(gradient, gradient, torch.tensor(1.0))
        ...     both = {"audio": found, "visual": found}
        ...     names = tuple(both)
        ...     return Observation(
        ...         torch.tensor([0]), torch.zeros(1, 2), names, training=training, gradients=both
        ...     )
        >>> probe = GradientOgr()
        >>> probe.observe(state(True, torch.tensor([3.0, 1.0])))
        >>> probe.observe(state(False, torch.tensor([2.0, 2.0])))
        >>> probe.result()["ogr"].sel(epoch=0, head="audio").item()
        0.25
    """

    needs = (Need.LABELS, Need.GRADIENTS)
    looks_at_training = True
    only_when_named = "a forward and M + 1 backward passes of the whole model per batch"
    _sums: dict[tuple[int, bool, str], Tensor] = field(default_factory=dict, init=False, repr=False)
    _counts: dict[tuple[int, bool], int] = field(default_factory=dict, init=False, repr=False)

    def observe(self, seen: Observation) -> None:
        """Add the gradients of one batch, weighted with its examples."""
        count = len(seen.labels)
        heads = {name: found.alone for name, found in seen.gradients.items()}
        heads[schema.JOINT] = torch.cat([found.joint for found in seen.gradients.values()])
        for head, gradient in heads.items():
            self._add((seen.epoch, seen.training, head), gradient.double() * count)
        state = seen.epoch, seen.training
        self._counts[state] = self._counts.get(state, 0) + count

    def merge(self, other: Self) -> None:
        """Add the gradients of another copy."""
        for key, total in other._sums.items():
            self._add(key, total)
        for state, count in other._counts.items():
            self._counts[state] = self._counts.get(state, 0) + count

    def result(self) -> xr.Dataset:
        """Return the ratio and its terms over (epoch, head).

        Raises:
            NotAttachedError: nothing was observed yet.
            NotApplicableError: training or held-out examples are missing.
        """
        if not self._sums:
            raise self.nothing_seen()
        epochs = sorted(
            e for e, training in self._counts if training and (e, False) in self._counts
        )
        if not epochs:
            raise NotApplicableError(
                "it compares training with held-out examples; give both to diagnose(train=...)"
            )
        heads = list(dict.fromkeys(head for _, _, head in self._sums))

        def table(values: list[list[Tensor]]) -> Tensor:
            return torch.stack([torch.stack(row) for row in values]).cpu()

        gradients = [[self._both(epoch, head) for head in heads] for epoch in epochs]
        ratio = [[formulas.gradient_overfitting(t, v, t) for t, v in row] for row in gradients]
        agree = [[formulas.cosine(t, v) for t, v in row] for row in gradients]
        variables = {
            "ogr": schema.variable(
                ("epoch", "head"),
                table(ratio).numpy(),
                units="1",
                long_name="overfitting-to-generalization ratio of a step down the training loss",
                formula="imbalance_lens.formulas.overfitting.gradient_overfitting",
            ),
            "cosine": schema.variable(
                ("epoch", "head"),
                table(agree).numpy(),
                units="1",
                long_name="cosine of the training and the held-out gradient",
                formula="imbalance_lens.formulas.gradients.cosine",
            ),
        }
        coords = {"epoch": epochs, "head": heads}
        return schema.dataset(variables, coords, settings=self.settings())

    def _both(self, epoch: int, head: str) -> tuple[Tensor, Tensor]:
        train, held_out = (
            self._sums[epoch, training, head] / self._counts[epoch, training]
            for training in (True, False)
        )
        return train, held_out

    def _add(self, key: tuple[int, bool, str], total: Tensor) -> None:
        before = self._sums.get(key)
        self._sums[key] = total if before is None else before + total.to(before.device)


PROBE = GradientOgr
