"""Whether what helps all modalities together also helps each encoder alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from .. import checks, formulas, schema
from ..observation import Gradients, Need, Observation
from ._base import Probe

if TYPE_CHECKING:
    import xarray as xr


@dataclass(eq=False)
class GradientConflict(Probe):
    """Compares the gradients of the joint and of the unimodal losses on each encoder.

    Both are gradients of the mean cross-entropy of a batch on the encoder's own trainable
    parameters, in eval mode: one of the joint logits, one of the modality's own logits. Where
    their cosine is below 0, a step that helps the model is a step back for the encoder alone
    (Wei and Hu, *MMPareto*, ICML 2024); where the joint gradient is far shorter than the
    unimodal one, the encoder learns little in joint training (Peng et al., CVPR 2022).

    Cost: for each batch that it looks at, one forward and two backward passes of the whole model,
    which took 6 to 8 times as long as an evaluation of the batch (two ResNet-18, one core).
    Memory: the graph of that pass, two gradients, and 32 M bytes per batch.

    Args:
        batches: of a loader, how many it looks at, the first ones; so shuffle what is sorted by
            class. In a running training the schedule of the lens decides.

    Raises:
        SettingError: `batches` is not above 0.

    Example:
        >>> def gradients(*joint):
        ...     return Gradients(torch.tensor(joint), torch.tensor([1.0, 0.0]), torch.tensor(2.0))
        >>> seen = Observation(
        ...     labels=torch.tensor([0]),
        ...     logits=torch.zeros(1, 2),
        ...     modalities=("audio", "visual"),
        ...     gradients={"audio": gradients(3.0, 0.0), "visual": gradients(-0.6, 0.8)},
        ... )
        >>> probe = GradientConflict()
        >>> probe.observe(seen)
        >>> probe.result()["mean_cosine"].values.round(6)
        array([ 1. , -0.6])
    """

    needs = (Need.LABELS, Need.GRADIENTS)
    needs_whole_batches = True
    only_when_named = "a forward and two backward passes of the whole model per sampled batch"
    batches: int = 4
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _seen: list[tuple[int, int, Tensor]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        checks.whole("batches", self.batches)

    def looks_at(self, step: int) -> bool:
        """Look at the first batches."""
        return step < self.batches

    def observe(self, seen: Observation) -> None:
        """Measure the gradients of one batch."""
        self._modalities = seen.modalities
        unknown = seen.logits.new_full((len(_MEASURED),), torch.nan, dtype=torch.float64)
        rows = [
            _measured(seen.gradients[name]) if name in seen.gradients else unknown
            for name in seen.modalities
        ]
        self._seen.append((seen.step, seen.epoch, torch.stack(rows)))

    def merge(self, other: Self) -> None:
        """Take in the batches of another copy; those of one step are averaged."""
        self._modalities = self._modalities or other._modalities
        self._seen += other._seen

    def result(self) -> xr.Dataset:
        """Return the numbers over (step, modality), and their mean and standard error.

        The mean over the batches is over `modality` and called `mean_...`; its standard error,
        `mean_..._error`, is NaN for one batch. A modality without trainable parameters of its own
        is NaN, and so is the cosine with a gradient that is zero.

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        if not self._seen:
            raise self.nothing_seen()
        epochs = {step: epoch for step, epoch, _ in self._seen}
        steps = {step: k for k, step in enumerate(sorted(epochs))}
        which = torch.tensor([steps[step] for step, _, _ in self._seen])
        batches = which.bincount().unsqueeze(1)
        measured = torch.stack([rows.cpu() for _, _, rows in self._seen])
        variables: dict[str, xr.Variable] = {}
        for name, values in self._quantities(measured).items():
            sums = values.new_zeros(len(steps), len(self._modalities))
            by_step = sums.index_add(0, which, values) / batches
            error = values.std(0, correction=1) if len(values) > 1 else values[0] * torch.nan
            variables[name] = _variable(name, ("step", "modality"), by_step)
            variables[f"mean_{name}"] = _variable(name, ("modality",), values.mean(0), "mean of: ")
            variables[f"mean_{name}_error"] = _variable(
                name, ("modality",), error / len(values) ** 0.5, "standard error of the mean of: "
            )
        coords = {
            "step": list(steps),
            "modality": list(self._modalities),
            "step_epoch": ("step", [epochs[step] for step in steps]),
        }
        return schema.dataset(
            variables, coords, settings=self.settings(), batches_seen=len(self._seen)
        )

    def _quantities(self, measured: Tensor) -> dict[str, Tensor]:
        """Return what is said of the batches, each (batches, modalities)."""
        joint, alone, cosine, parameters = measured.unbind(-1)
        known = {
            name: joint[:, k]
            for k, name in enumerate(self._modalities)
            if not joint[:, k].isnan().all()
        }
        shares = formulas.magnitude_shares(known) if len(known) > 1 else {}
        unknown = torch.full_like(joint[:, 0], torch.nan)
        return {
            "joint_norm": joint,
            "alone_norm": alone,
            "ratio": joint / alone,
            "cosine": cosine,
            "relative_norm": joint / parameters,
            "share": torch.stack([shares.get(name, unknown) for name in self._modalities], 1),
        }


_MEASURED = ("joint_norm", "alone_norm", "cosine", "parameter_norm")
_NORM = "torch.linalg.vector_norm"
_COSINE = "imbalance_lens.formulas.gradients.cosine"
_SHARES = "imbalance_lens.formulas.shares.magnitude_shares"
_SAID = {
    "joint_norm": ("nat", _NORM, "length of the joint loss's gradient on the encoder"),
    "alone_norm": ("nat", _NORM, "length of the unimodal loss's gradient on the encoder"),
    "ratio": ("1", _NORM, "length of the joint gradient relative to the unimodal one"),
    "cosine": ("1", _COSINE, "cosine between the joint and the unimodal gradient"),
    "relative_norm": ("nat", _NORM, "length of the joint gradient relative to the parameters'"),
    "share": ("1", _SHARES, "share of the encoder in the lengths of all joint gradients"),
}


def _measured(gradients: Gradients) -> Tensor:
    joint, alone = (
        torch.linalg.vector_norm(gradient, dtype=torch.float64)
        for gradient in (gradients.joint, gradients.alone)
    )
    cosine = formulas.cosine(gradients.joint, gradients.alone)
    return torch.stack([joint, alone, cosine, gradients.parameter_norm.double()])


def _variable(name: str, dims: tuple[str, ...], values: Tensor, of: str = "") -> xr.Variable:
    units, formula, long_name = _SAID[name]
    return schema.variable(
        dims, values.numpy(), units=units, long_name=f"{of}{long_name}", formula=formula
    )


PROBE = GradientConflict
