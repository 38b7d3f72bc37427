"""ABRi: mix BatchNorm layers with fresh ones, so that channels that are nearly off come back."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from imbalance_lens import Anatomy, checks, formulas
from imbalance_lens.errors import NoEffectWarning, SettingError

from ._abri.adaptive_batchnorm import ALPHAS, AdaptiveBatchNorm, convert, fold
from ._abri.batchnorms import changeable, owners
from ._base import Card, Recipe, Run
from ._history import Quantity

if TYPE_CHECKING:
    from imbalance_lens import Report

__all__ = ["CARD", "RECIPE", "Abri", "AdaptiveBatchNorm", "convert", "fold"]

CARD = Card(
    title="ABRi, Adaptive Batchnorm Re-initialization",
    paper="Feng et al., Revisiting Pre-training in Audio-Visual Learning, 2023",
    equations="eq. 3; the two baselines of section 3.2",
    events=("on_fit_start", "on_step_end"),
    touches=("parameters",),
    needs="BatchNorm layers with a trainable scale and shift in the encoders",
    defaults="alpha begins at 0.5 and every layer of an encoder is converted, as in the authors' "
    "code; threshold=1e-6 for the naive baseline is the code's, too",
    deviations=(
        "one alpha per channel, as in the text; the authors' code has one per layer unless told "
        "otherwise: alpha='scalar'",
        "no weight decay on alpha, which would pull it to the fresh layer; in the authors' code it "
        "decays like all others",
        "the fresh layer begins with the running statistics of the original, so both have the same "
        "for good and one set is kept; in the authors' code it begins with mean 0 and variance 1, "
        "and evaluations soon after are off",
        "the sum of both layers is computed as one layer with mixed scale and shift, which it is",
        "modalities='auto' with a report takes the encoders that the report recommends this for: "
        "too much of them is dead, and they do not dominate (appendix C.3 of the paper)",
        "the naive baseline re-initializes by the scale alone, as in the authors' code; the text "
        "speaks of pairs. Running statistics stay in both baselines.",
    ),
    rests_on=("abnormal_batchnorm",),
)

_JUDGED_BY = ("abnormal_batchnorm", "dead_features")
REINITIALIZE = ("adaptive", "naive", "full")
_WORDS = "of the mix of original (1) and fresh (0) BatchNorm layers, over the modality's channels"
ALPHA = Quantity("alpha", "1", f"mean {_WORDS}", "recipes.abri.AdaptiveBatchNorm")
ALPHA_MIN = Quantity("alpha_min", "1", f"smallest {_WORDS}", ALPHA.formula)
ALPHA_MAX = Quantity("alpha_max", "1", f"largest {_WORDS}", ALPHA.formula)
_RECORDED = {ALPHA: torch.mean, ALPHA_MIN: torch.amin, ALPHA_MAX: torch.amax}

Model = TypeVar("Model", bound=nn.Module)


def naive(
    model: Model,
    *,
    modalities: Iterable[str] | None = None,
    anatomy: Anatomy | Mapping[str, str] | None = None,
    threshold: float = 1e-6,
) -> Model:
    """Give channels with next to no scale that of a fresh layer, in place: a baseline.

    Equation: (gamma, beta) = (1, 0) where |gamma| < threshold (Feng et al., 2023, section 3.2).

    Args:
        model: with its weights loaded.
        modalities: as for `convert`.
        anatomy: as for `convert`.
        threshold: above 0; infinite for all channels.

    Returns:
        The model.

    Raises:
        NotApplicableError: as for `convert`.
        SettingError: as for `convert`.
        UnknownNameError: as for `convert`.

    Example:
        >>> layer = nn.BatchNorm1d(2)
        >>> with torch.no_grad():
        ...     _ = layer.weight.copy_(torch.tensor([1e-9, 0.5]))
        ...     _ = layer.bias.fill_(0.25)
        >>> naive(layer).weight.tolist(), layer.bias.tolist()
        ([1.0, 0.5], [0.0, 0.25])
    """
    found = 0
    for layer in changeable(model, modalities, anatomy):
        weight, bias = layer.weight.detach(), layer.bias.detach()
        off = formulas.abnormal_channels(weight, bias, threshold, "gamma")
        found += int(off.sum())
        where = off.to(weight.device)
        weight.masked_fill_(where, 1)
        bias.masked_fill_(where, 0)
    if not found:
        warnings.warn(
            f"No BatchNorm channel has a scale below {threshold:g}, so nothing is re-initialized. "
            "Raise threshold=, or leave the recipe out.",
            NoEffectWarning,
            stacklevel=2,
        )
    return model


@dataclass(eq=False, kw_only=True)
class Abri(Recipe):
    """Mixes the BatchNorm layers of encoders with fresh ones before the training.

    The model keeps the adaptive layers; `recipes.abri.fold` makes plain ones of them.

    Args:
        modalities: "auto" for all encoders with BatchNorm layers, or those that `report`
            recommends this for; or the names of modalities.
        report: a diagnosis of the model as it is before the training.
        reinitialize: "adaptive"; or a baseline: "naive", a fresh scale and shift for channels
            whose scale is below `threshold`, or "full", for all.
        alpha: "channel" or "scalar", see `convert`.
        initial_alpha: what alpha begins with.
        threshold: of reinitialize="naive".

    Raises:
        SettingError: a value that is not allowed, settings that exclude each other, or a first or
            a last epoch, as layers are converted for the whole training.
    """

    modalities: str | Sequence[str] = "auto"
    report: Report | None = None
    reinitialize: str = "adaptive"
    alpha: str = "channel"
    initial_alpha: float = 0.5
    threshold: float = 1e-6

    card = CARD
    regresses = True
    multilabel = True
    _layers: dict[str, list[AdaptiveBatchNorm]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("reinitialize", self.reinitialize, REINITIALIZE)
        checks.one_of("alpha", self.alpha, ALPHAS)
        checks.positive("threshold", self.threshold)
        if self.start_epoch or self.end_epoch is not None:
            raise SettingError(
                f"{self.name!r} changes layers before the first step, for good; got "
                f"start_epoch={self.start_epoch}, end_epoch={self.end_epoch}. Leave both out, and "
                "train without it first, or fold the layers and go on, in calls of their own."
            )
        if isinstance(self.modalities, str):
            checks.one_of("modalities", self.modalities, ("auto",))
        if self.report is not None:
            self._check_report()

    def settings(self) -> dict[str, Any]:
        """Return the values of the init fields; of the report, which encoders it recommends."""
        given = super().settings()
        return {**given, "report": None if self.report is None else list(self._recommended())}

    def on_fit_start(self, run: Run) -> None:
        """Convert or re-initialize the layers of the encoders that are to be changed."""
        chosen = self._chosen(run)
        where = {"modalities": chosen, "anatomy": run.anatomy}
        if chosen and self.reinitialize == "adaptive":
            convert(run.model, alpha=self.alpha, initial_alpha=self.initial_alpha, **where)
        elif chosen:
            bound = self.threshold if self.reinitialize == "naive" else torch.inf
            naive(run.model, threshold=bound, **where)
        self._layers = {name: [] for name in run.modalities}
        for layer, using in owners(run.model, run.anatomy).items():
            for name in using & self._layers.keys():
                if isinstance(layer, AdaptiveBatchNorm):
                    self._layers[name].append(layer)

    def parameter_groups(self, run: Run) -> list[dict[str, Any]]:
        """Return what `convert` has added, with no weight decay on alpha."""
        layers = [layer for layer in run.model.modules() if isinstance(layer, AdaptiveBatchNorm)]
        if not layers:
            return []
        return [
            {"params": [p for layer in layers for p in (layer.added_weight, layer.added_bias)]},
            {"params": [layer.alpha for layer in layers], "weight_decay": 0.0},
        ]

    def on_step_end(self, run: Run) -> None:
        """Record where alpha is."""
        mixes = {
            name: torch.cat([layer.alpha.detach().float().reshape(-1) for layer in layers])
            for name, layers in self._layers.items()
            if layers
        }
        if not mixes:
            return
        device = next(iter(mixes.values())).device
        none = torch.full((1,), torch.nan, device=device)
        for quantity, reduced in _RECORDED.items():
            found = {name: reduced(mixes.get(name, none)).to(device) for name in run.modalities}
            run.record(quantity, found)

    def _chosen(self, run: Run) -> list[str]:
        if not isinstance(self.modalities, str):
            return list(self.modalities)
        if self.report is None:
            using = set().union(*owners(run.model, run.anatomy).values())
            return [name for name in run.modalities if name in using] or list(run.modalities)
        found = self._recommended()
        checks.no_strangers("The report", found, run.modalities)
        if not found:
            warnings.warn(
                f"The report recommends {self.name!r} for no encoder, so none is changed. Name "
                "some with modalities=[...] to change them all the same.",
                NoEffectWarning,
                stacklevel=2,
            )
        return found

    def _recommended(self) -> list[str]:
        if self.report is None:
            return []
        return [r.modality for r in self.report.recommendations if r.recipe == self.name]

    def _check_report(self) -> None:
        from imbalance_lens import Report

        if not isinstance(self.report, Report):
            raise SettingError(
                f"report is a {type(self.report).__name__}. Give what imbalance_lens.diagnose or "
                "load_report returns."
            )
        if self.modalities != "auto":
            raise SettingError(
                "report= chooses the encoders, and modalities= names them. Pass one of them."
            )
        if not set(_JUDGED_BY) & set(self.report.tree.children):
            raise SettingError(
                f"The report has no answer of {' or '.join(_JUDGED_BY)}, so it does not know how "
                "much of an encoder is dead. Name the probes in diagnose(probes=...), or pass "
                "modalities=[...]."
            )


RECIPE = Abri
