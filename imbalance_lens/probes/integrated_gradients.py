"""How much of a class's logit each modality's features bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from .. import checks, formulas, schema
from ..errors import NotApplicableError
from ..observation import Need, Observation
from ._integrated import integrated_gradients
from ._pooling import by_example
from ._resampled import Resampled
from ._rows import Rows

if TYPE_CHECKING:
    import xarray as xr

TARGETS = ("label", "predicted")


@dataclass(eq=False)
class IntegratedGradients(Resampled):
    """Shares a class's logit out among the modalities, example by example.

    The features of all modalities go together from zero to what they are, and each one gets what
    the logit gains by it on the way (Sundararajan et al., ICML 2017, eq. 1). The parts add up to
    the change of the logit, up to `delta`, the error of the quadrature. For a head that is linear
    in the features a modality's part is exactly what it adds alone.

    Cost: `n_steps` forward and backward passes of fusion and head per batch, one more forward
    pass, and M for the first batch; of the whole model where a modality is read at an input.
    Memory: 8 (M + 1) bytes per example.

    Args:
        target: whose logit: that of the "label", or of the "predicted" class.
        n_steps: points on the way; more make `delta` smaller.
        resamples: number of bootstrap resamples behind the intervals.
        confidence_level: of the intervals.
        seed: of the resamples.

    Raises:
        SettingError: an unknown target; `n_steps` or `resamples` is not above 0, or
            `confidence_level` not between 0 and 1.

    Example:
        >>> weight = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> signals = {"audio": (torch.eye(2),), "visual": (torch.eye(2) / 4,)}
        >>> def fusion(signals):
        ...     return sum(part @ weight for (part,) in signals.values())
        >>> seen = Observation(
        ...     labels=torch.tensor([0, 1]),
        ...     logits=fusion(signals),
        ...     modalities=("audio", "visual"),
        ...     signals=signals,
        ...     fusion=fusion,
        ... )
        >>> probe = IntegratedGradients()
        >>> probe.observe(seen)
        >>> probe.result()["share"].values.round(6)
        array([0.8, 0.2])
    """

    needs = (Need.FUSION,)
    only_when_named = "n_steps forward and backward passes of fusion and head per batch"
    waits_for_device = True
    target: str = "label"
    n_steps: int = 32
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _rows: Rows = field(default_factory=Rows, init=False, repr=False)
    _cut_off: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("target", self.target, TARGETS)
        checks.whole("n_steps", self.n_steps)

    def observe(self, seen: Observation) -> None:
        """Share out the logits of one batch."""
        if self.target == "label" and not len(seen.labels):
            raise NotApplicableError(Need.LABELS.value)
        self._modalities = seen.modalities
        target = seen.labels if self.target == "label" else seen.logits.argmax(1)
        logit = _Logit(seen, target)
        attributions = iter(integrated_gradients(logit, logit.points, self.n_steps))
        parts = [
            torch.stack([_sums(next(attributions), seen, name) for _ in seen.signals[name]]).sum(0)
            for name in seen.modalities
        ]
        if not len(self._rows):  # whether a gradient gets through is the same for every batch
            self._cut_off.append(_cut_off(seen, parts))
        at_zero = logit(*map(torch.zeros_like, logit.points))
        self._rows.append(
            attribution=torch.stack(parts, 1),
            change=(logit.of(seen.logits) - at_zero).detach().double(),
        )

    def merge(self, other: Self) -> None:
        """Take in the examples of another copy."""
        self._modalities = self._modalities or other._modalities
        self._rows.extend(other._rows)
        self._cut_off += other._cut_off

    def result(self) -> xr.Dataset:
        """Return the attributions and shares over (modality) and (modality, other).

        Raises:
            NotAttachedError: nothing was observed yet.
            NotApplicableError: no gradient gets to the features of a modality that matters.
        """
        if not len(self._rows):
            raise self.nothing_seen()
        for name, *cut_off in zip(self._modalities, *self._cut_off, strict=True):
            if any(cut_off):
                raise NotApplicableError(
                    f"the logits depend on the features of {name!r} and have no gradient with "
                    "respect to them: the fusion detaches or rounds them, or leaves torch"
                )
        table = self._rows.on_host()
        parts, change = table["attribution"], table["change"]
        error = np.abs(parts.sum(1) - change)
        formula = "captum.attr.IntegratedGradients"
        variables = {
            **self._scores(parts),
            "change": schema.variable(
                (),
                change.mean(),
                units="logit",
                long_name="logit of the target, minus that of zero features",
                formula="torch.sub",
            ),
            "delta": schema.variable(
                (),
                error.mean(),
                units="logit",
                long_name="mean distance of the sum of all attributions from the change",
                formula=formula,
            ),
            "max_delta": schema.variable(
                (),
                error.max(),
                units="logit",
                long_name="largest distance of the sum of all attributions from the change",
                formula=formula,
            ),
            "silent": schema.variable(
                (),
                (parts == 0).all(1).sum(),
                units="example",
                long_name="examples in which no modality adds anything, which have no shares",
                formula=formula,
            ),
            "nonfinite": schema.variable(
                (),
                (~np.isfinite(error)).sum(),
                units="example",
                long_name="examples whose attributions or logits are NaN or infinite",
                formula="numpy.isfinite",
            ),
        }
        return schema.dataset(
            variables,
            {
                "modality": list(self._modalities),
                "other": list(self._modalities),
                "bound": ["low", "high"],
            },
            settings=self.settings(),
            examples=len(self._rows),
        )

    def _scores(self, parts: np.ndarray) -> dict[str, xr.Variable]:
        by_name = dict(zip(self._modalities, torch.from_numpy(parts).unbind(1), strict=True))
        shares = torch.stack(list(formulas.magnitude_shares(by_name).values()), 1).numpy()
        silent = (parts == 0).all(1, keepdims=True)
        known = np.broadcast_to(~silent, parts.shape)
        columns = np.stack([parts, np.where(silent, 0, shares), known], 1)
        draws = self.resample(columns, self._modalities)
        means, drawn = columns.mean(0), draws.swapaxes(0, 1)
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no example has shares
            share, drawn_share = means[1] / means[2], drawn[1] / drawn[2]
        pair = ("modality", "other")
        captum, formula = (
            "captum.attr.IntegratedGradients",
            "imbalance_lens.formulas.shares.magnitude_shares",
        )
        return {
            **self.estimate(
                "attribution",
                ("modality",),
                means[0],
                drawn[0],
                units="logit",
                long_name="what the modality adds to the logit of the target",
                formula=captum,
            ),
            **self.estimate(
                "share",
                ("modality",),
                share,
                drawn_share,
                long_name="share of the modality in the size of all attributions of an example",
                formula=formula,
            ),
            **self.estimate(
                "share_gap",
                pair,
                share[:, None] - share,
                drawn_share[:, :, None] - drawn_share[:, None],
                long_name="share of the modality, minus that of the other one",
                formula=formula,
            ),
        }


class _Logit:
    """One logit of each example, as a function of all signals in a row.

    Attributes:
        points: the signals, single precision or more: a sum of many small steps has no place in
            half precision.
    """

    def __init__(self, seen: Observation, target: Tensor) -> None:
        self._seen, self._target = seen, target.unsqueeze(1)
        everything = [signal for name in seen.modalities for signal in seen.signals[name]]
        if any(signal.is_complex() for signal in everything):
            raise NotApplicableError("a modality's features are complex numbers")
        self.points = [
            signal.to(torch.promote_types(signal.dtype, torch.float32)) for signal in everything
        ]

    def __call__(self, *points: Tensor) -> Tensor:
        """Return the logits of the targets for other signals."""
        given = iter(points)
        # Copies, since a fusion may change what it gets in place.
        signals = {
            name: [next(given).to(signal.dtype).clone() for signal in self._seen.signals[name]]
            for name in self._seen.modalities
        }
        return self.of(self._seen.fusion(signals))

    def of(self, logits: Tensor) -> Tensor:
        """Return those of the targets."""
        return logits.gather(1, self._target).squeeze(1)


def _cut_off(seen: Observation, parts: Sequence[Tensor]) -> Tensor:
    """Say of each modality (modalities,) whether it matters without adding anything."""
    without = [
        seen.fusion({name: [torch.zeros_like(signal) for signal in seen.signals[name]]})
        for name in seen.modalities
    ]
    moved = torch.stack([(logits - seen.logits).abs().amax() for logits in without])
    rounding = torch.finfo(seen.logits.dtype).eps * seen.logits.abs().amax()
    return ((torch.stack(list(parts)) == 0).all(1) & (moved > 8 * rounding)).detach()


def _sums(attribution: Tensor, seen: Observation, name: str) -> Tensor:
    return by_example(attribution, len(seen.logits), name).flatten(1).double().sum(1)


PROBE = IntegratedGradients
