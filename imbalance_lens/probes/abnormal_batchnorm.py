"""BatchNorm channels that their own parameters switch off."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from .. import checks, formulas, schema
from ..checkpoints import load_weights
from ..errors import NotApplicableError
from ..observation import BatchNormState, Need, Observation
from ._base import Probe
from ._batchnorms import THRESHOLDS, distinct, scan

if TYPE_CHECKING:
    import xarray as xr


class _Look(NamedTuple):
    step: int
    batchnorms: Mapping[str, BatchNormState]


@dataclass(eq=False)
class AbnormalBatchnorm(Probe):
    """Counts the BatchNorm channels whose scale and shift are next to nothing.

    Such a channel passes on hardly any signal and hardly any gradient, so training does not
    bring it back: part of an encoder's capacity is lost, most of all in one that was trained on
    another modality (Feng et al., 2023, section 3.1). The answer depends on the parameters
    alone, not on data or labels.

    Cost: no pass through the model. At each observed step the scales and shifts are copied; the
    last copy of every epoch is kept, 8 bytes per channel in single precision.

    Args:
        thresholds: bounds below which a parameter counts as abnormal, in the order of the
            answer.
        criterion: what is compared with them, one of `formulas.CRITERIA`: "pair", scale and
            shift, as in the paper; "gamma", the scale alone; "relative", the scale against the
            median of its layer.

    Raises:
        SettingError: no threshold, equal ones or one that is not above 0; an unknown criterion.

    Example:
        >>> import torch
        >>> zeros, nothing = torch.zeros(2), torch.empty(0)
        >>> layer = BatchNormState(torch.tensor([1.0, 0.0]), zeros, zeros, zeros + 1)
        >>> probe = AbnormalBatchnorm(thresholds=(1e-10,))
        >>> probe.observe(Observation(nothing, nothing, ("a", "b"), batchnorms={"bn": layer}))
        >>> probe.result()["abnormal_count"].values
        array([[[1]]])
    """

    needs = (Need.BATCHNORMS,)
    thresholds: tuple[float, ...] = THRESHOLDS
    criterion: str = "pair"
    _looks: dict[int, _Look] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.thresholds = distinct(self.thresholds)
        checks.one_of("criterion", self.criterion, formulas.CRITERIA)

    def looks_at(self, step: int) -> bool:
        """Say whether this batch is wanted: the parameters of a frozen model stay as they are."""
        return step == 0

    def observe(self, seen: Observation) -> None:
        """Copy the parameters, in place of an earlier copy from the same epoch."""
        if not seen.batchnorms:
            raise NotApplicableError(Need.BATCHNORMS.value)
        copies = {path: _parameters(state) for path, state in seen.batchnorms.items()}
        self._looks[seen.epoch] = _Look(seen.step, copies)

    def merge(self, other: Self) -> None:
        """Take in the epochs of another copy; of one that both have seen, the later step."""
        for epoch, look in other._looks.items():
            if epoch not in self._looks or look.step > self._looks[epoch].step:
                self._looks[epoch] = look

    def result(self) -> xr.Dataset:
        """Return what `scan` answers, by epoch; the single channels as they were seen last.

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        import xarray as xr

        if not self._looks:
            raise self.nothing_seen()
        epochs = sorted(self._looks)
        scans = [scan(self._looks[e].batchnorms, self.thresholds, self.criterion) for e in epochs]
        last = scans[-1]
        by_layer = [each.drop_dims("channel").drop_vars(["modality", "channels"]) for each in scans]
        curves = xr.concat(
            [each.reindex(layer=last["layer"]) for each in by_layer],
            dim=xr.Variable("epoch", epochs),
            data_vars="all",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
        made = last.assign_coords(epoch=curves["epoch"]).assign(curves.data_vars)
        schema.validate(made)
        return made


def scan_checkpoint(
    path: str | os.PathLike[str],
    thresholds: Iterable[float] = THRESHOLDS,
    criterion: str = "pair",
    *,
    trust: bool = False,
) -> xr.Dataset:
    """Count the abnormal BatchNorm channels in a checkpoint, without the model.

    A layer is recognized by entries `weight`, `bias`, `running_mean` and `running_var` of one
    length. Layers without running statistics cannot be told from LayerNorm there and are left
    out; an InstanceNorm that keeps statistics cannot be told from BatchNorm and is counted; what
    was folded into a convolution is gone.

    Args:
        path: the file, of any kind that `load_weights` reads.
        thresholds: as for `AbnormalBatchnorm`.
        criterion: as for `AbnormalBatchnorm`.
        trust: also unpickle arbitrary Python objects, which can run any code.

    Returns:
        As `scan`; `modality` is empty, since a checkpoint does not tell it.

    Raises:
        CheckpointError: the file cannot be read safely.
        NotApplicableError: no BatchNorm layer is in it; the message says what is.
        SettingError: as for `AbnormalBatchnorm`.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(torch.nn.BatchNorm1d(4).state_dict(), f"{folder}/run.pt")
        ...     found = scan_checkpoint(f"{folder}/run.pt", thresholds=(1e-2, 1e-10))
        >>> found["abnormal_count"].dims, found["abnormal_count"].values.tolist()
        (('threshold', 'layer'), [[0], [0]])
    """
    weights = load_weights(path, trust=trust)
    prefixes = [name[: -len(_MARK)] for name in weights if name.split(".")[-1] == _MARK]
    found = {}
    for prefix in prefixes:
        own = [weights.get(prefix + name) for name in ("weight", "bias", _MARK, "running_var")]
        parts = [part for part in own if part is not None and part.ndim == 1]
        if len(parts) == 4 and len({len(part) for part in parts}) == 1:
            weight, bias, mean, var = parts
            found[prefix.removesuffix(".")] = BatchNormState(weight, bias, mean, var)
    if not found:
        raise NotApplicableError(
            f"{os.fspath(path)} holds no BatchNorm layer with weight, bias and running "
            f"statistics: of its {len(weights)} tensors ({', '.join(list(weights)[:4])}, ...) "
            f"{len(prefixes)} are running means, without weight and bias of their length. "
            "Other kinds of normalization cannot be scanned."
        )
    return scan(found, thresholds, criterion)


def _parameters(state: BatchNormState) -> BatchNormState:
    """Copy weight and bias and leave the statistics out."""
    none = state.weight.new_empty(0)
    weight, bias = state.weight.detach().clone(), state.bias.detach().clone()
    return BatchNormState(weight, bias, none, none, state.modality)


_MARK = "running_mean"
PROBE = AbnormalBatchnorm
