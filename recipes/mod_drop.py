"""ModDrop: in training, leave out each modality's features with a fixed probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import checks
from imbalance_lens.errors import SettingError

from ._base import Card, Recipe, Run
from ._dropping import drop

CARD = Card(
    title="ModDrop",
    paper="Neverova et al., ModDrop: adaptive multi-modal gesture recognition, TPAMI 2016",
    equations="phi_m <- delta_m phi_m, with delta_m = 0 with probability p_m, else 1, drawn for "
    "each example and modality",
    events=("on_fit_start", "on_batch", "on_features"),
    touches=("features",),
    needs="a place between encoders and fusion",
    defaults="p=0.2 is ours",
    deviations=(
        "the encoders' features are dropped, as OPM drops them; the paper drops whole channels in "
        "front of a fusion that is trained step by step",
        "the paper first trains each modality's part alone: give encoders that are trained",
        "nothing is rescaled, so that a dropped modality looks as a missing one does",
        "modalities are dropped independently, so an example may lose all of them, with "
        "probability prod_m p_m; only the biases of fusion and head learn from it",
    ),
)


def chosen(batch: int, p: float, device: torch.device | str = "cpu") -> Tensor:
    """Draw which examples lose a modality, from torch's global random state.

    Args:
        batch: number of examples.
        p: with which probability, 0 to 1.
        device: where.

    Returns:
        (batch,) bool.

    Example:
        >>> chosen(3, 1.0), chosen(3, 0.0)
        (tensor([True, True, True]), tensor([False, False, False]))
    """
    return torch.rand(batch, device=device) < p


@dataclass(eq=False, kw_only=True)
class ModDrop(Recipe):
    """Leaves out each modality's features with a fixed probability, example by example.

    Args:
        p: the probability; or modality -> its own, where one that is not named is never dropped.

    Raises:
        SettingError: a value that is not allowed; when the training starts, an unknown modality.
    """

    p: float | Mapping[str, float] = 0.2

    card = CARD
    regresses = True
    multilabel = True
    _batch: int = field(default=0, init=False, repr=False)
    _masks: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        named = self.p if isinstance(self.p, Mapping) else {"": self.p}
        for name, value in named.items():
            told = f"p[{name!r}]" if name else "p"
            checks.at_least(told, value, 0)
            if value > 1:
                raise SettingError(f"{told} must lie from 0 to 1; got {value!r}.")

    def on_fit_start(self, run: Run) -> None:
        """Look whether all modalities are known."""
        if isinstance(self.p, Mapping):
            checks.no_strangers("p", self.p, run.modalities)

    def on_batch(self, run: Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:  # noqa: ARG002
        """Note how many examples there are, and forget those that were chosen before."""
        self._batch, self._masks = len(labels), {}
        return inputs, labels

    def on_features(self, run: Run, modality: str, features: Tensor) -> Tensor:  # noqa: ARG002
        """Return the features, without those of the examples that are dropped."""
        p = self.p.get(modality, 0) if isinstance(self.p, Mapping) else self.p
        # Nothing is drawn either: the random numbers of a training that drops nothing stay its own.
        if p == 0 or not features.is_floating_point():
            return features
        if modality not in self._masks:
            self._masks[modality] = chosen(self._batch, p, features.device)
        return drop(features, self._masks[modality].to(features.device))


RECIPE = ModDrop
