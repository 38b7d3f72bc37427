"""MMCosine: a linear head that sees only directions, modality by modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_lens import checks
from imbalance_lens.anatomy.linear_fusion import columns_of
from imbalance_lens.anatomy.sites import Wiring
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.hooks.taps import after_call

from ._base import Card, Recipe, Run

CARD = Card(
    title="MMCosine, Multi-Modal Cosine loss",
    paper="Xu et al., MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained "
    "Learning, ICASSP 2023",
    equations="f_y = s sum_m cos(W_m,y , phi_m), and the cross-entropy of it",
    events=("on_fit_start", "on_fit_end"),
    touches=("parameters",),
    needs="a linear layer over the concatenated features that gives the logits",
    defaults="scale=10 is that of the authors' script for CREMA-D",
    deviations=(
        "the authors' code computes the logits beside the model, in its training loop; here the "
        "head itself is changed, so that evaluation and every probe see the same logits",
        "the head stays changed after the training, as its weights mean nothing without it; it has "
        "no bias any more",
        "the authors also put it on gated and FiLM fusion and combine it with a contrastive loss; "
        "here it is the concatenation only, and no other loss",
        "features or weights of length 0 have a cosine of 0",
    ),
)


def cosine_logits(
    features: Mapping[str, Tensor], weights: Mapping[str, Tensor], scale: float
) -> dict[str, Tensor]:
    """Return each modality's part of the logits.

    Equation: z^m_y = s <phi^m, W^m_y> / (||phi^m|| ||W^m_y||) (Xu et al., ICASSP 2023).

    Args:
        features: modality -> (batch, width).
        weights: modality -> (classes, width), its columns of the head.
        scale: s, above 0.

    Returns:
        modality -> (batch, classes), each from -s to s; the model's logits are their sum.

    Example:
        >>> weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> cosine_logits({"audio": torch.tensor([[3.0, 4.0]])}, {"audio": weight}, scale=10)
        {'audio': tensor([[6., 8.]])}
    """
    return {
        name: scale
        * nn.functional.linear(
            nn.functional.normalize(given, dim=-1), nn.functional.normalize(weights[name], dim=-1)
        )
        for name, given in features.items()
    }


class CosineHead(nn.Module):
    """A head whose logits are sums of cosines.

    Args:
        layer: the linear layer in whose place it stands; its weight is kept, its bias is not.
        columns: modality -> which columns of the weight are its own.
        scale: what a cosine of 1 is worth.

    Example:
        >>> layer = nn.Linear(5, 3)
        >>> head = CosineHead(layer, {"audio": slice(0, 2), "visual": slice(2, 5)}, scale=10)
        >>> head(torch.ones(4, 5)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self, layer: nn.Linear, columns: Mapping[str, slice] | None = None, *, scale: float
    ) -> None:
        super().__init__()
        self.weight = layer.weight
        self.scale = scale
        self.columns: dict[str, slice] = dict(columns or {})
        self.heard: dict[str, Tensor] = {}

    def forward(self, given: Tensor) -> Tensor:
        """Return the logits (batch, classes) of the concatenated features."""
        if not self.columns:
            self.columns = _told_apart(given, self.heard)
        features = {name: given[..., own] for name, own in self.columns.items()}
        weights = {name: self.weight[:, own] for name, own in self.columns.items()}
        return torch.stack([*cosine_logits(features, weights, self.scale).values()]).sum(0)

    def extra_repr(self) -> str:
        """Return the scale and the modalities."""
        return f"scale={self.scale}, modalities={', '.join(self.columns) or 'not yet known'}"


@dataclass(eq=False, kw_only=True)
class MMCosine(Recipe):
    """Puts cosines in place of the products of a linear head, for good.

    Args:
        scale: what a cosine of 1 is worth; the logits lie within that times the modalities.

    Raises:
        SettingError: a value that is not allowed, or a first or last epoch.
        NotApplicableError: when the training starts: no linear head over all features.
    """

    scale: float = 10.0

    card = CARD
    multilabel = True
    _path: str = field(default="", init=False, repr=False)
    _layer: nn.Linear | None = field(default=None, init=False, repr=False)
    _hooks: list[Any] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("scale", self.scale)
        if self.start_epoch or self.end_epoch is not None:
            raise SettingError(
                f"{self.name!r} changes the head before the first step, for good; got "
                f"start_epoch={self.start_epoch}, end_epoch={self.end_epoch}. Leave both out."
            )

    def on_fit_start(self, run: Run) -> None:
        """Change the head; whose columns are whose is known with the first batch."""
        self._path = _head_of(run)
        layer = run.model.get_submodule(self._path)
        self._layer = None
        if not isinstance(layer, nn.Linear):
            return  # it was trained with cosines before
        head = CosineHead(layer, scale=self.scale).train(layer.training)
        for target, claims in Wiring(run.model, run.anatomy).claims.items():
            if target.method == "forward" and len(claims) == 1:
                note = partial(_note, head)
                self._hooks.append(after_call(target.owner, claims[0].modality, note))
        run.model.set_submodule(self._path, head)
        self._layer = layer

    def on_fit_end(self, run: Run) -> None:
        """Take back the change, where it was never known whose columns are whose."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._layer is None:
            return
        head = run.model.get_submodule(self._path)
        if isinstance(head, CosineHead) and not head.columns:
            run.model.set_submodule(self._path, self._layer)
        self._layer = None


def _head_of(run: Run) -> str:
    """Return where the only linear layer is that is in the head, or in no encoder."""
    head = run.anatomy.head
    found = [
        path
        for path, module in run.model.named_modules()
        if isinstance(module, nn.Linear | CosineHead)
        and not run.anatomy.owner(path)
        and (head is None or path == head or path.startswith(f"{head}."))
    ]
    if len(found) != 1:
        raise _not_over_all()
    return found[0]


def _note(head: CosineHead, modality: str, args: tuple, kwargs: Any, output: Any) -> None:  # noqa: ARG001
    if not head.columns and isinstance(output, Tensor):
        head.heard[modality] = output.detach()


def _told_apart(given: Tensor, heard: dict[str, Tensor]) -> dict[str, slice]:
    columns = columns_of(given.detach(), {name: t.flatten(1) for name, t in heard.items()})
    heard.clear()
    if not columns:
        raise _not_over_all()
    return columns


def _not_over_all() -> NotApplicableError:
    return NotApplicableError(
        "'mmcosine' needs a linear layer that gives the logits, and whose input is all features "
        "side by side; this model's head is none. Name it in Anatomy(head=...) if there is one."
    )


RECIPE = MMCosine
