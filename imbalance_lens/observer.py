"""From a replayed batch to what every probe wants to see of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from . import checks
from .anatomy import Anatomy
from .anatomy.gradients import encoder_gradients
from .anatomy.readout import Heads, Readout, choose_readout, read_logits
from .anatomy.replay import Replay
from .batches import check_labels
from .errors import BatchError, NotApplicableError, NotAttachedError, SettingError
from .observation import BatchNormState, Need, Observation
from .probes import PROBES
from .probes._base import Probe
from .registry import unknown

if TYPE_CHECKING:
    import xarray as xr

ProbeChoice = str | Probe
"""A probe by its name, or one made with settings of its own."""


def chosen_probes(probes: Iterable[ProbeChoice] | None) -> dict[str, Probe]:
    """Return new probes by name; all there are where none are named.

    Raises:
        UnknownNameError: no probe of a name.
        SettingError: a name twice, or something that is neither a name nor a probe.
    """
    if isinstance(probes, str | Probe):
        probes = [probes]
    made: dict[str, Probe] = {}
    for choice in PROBES.names() if probes is None else probes:
        if isinstance(choice, Probe):
            name, probe = type(choice).__module__.rpartition(".")[2], choice
        elif isinstance(choice, str):
            name, probe = choice, PROBES.get(choice)()
        else:
            raise SettingError(
                f"A probe is a name or a Probe; got {type(choice).__name__}. "
                f"Names: {', '.join(PROBES.names())}."
            )
        checks.unique("probes", name, made)
        made[name] = probe
    return made


def batchnorms_of(model: nn.Module, anatomy: Anatomy) -> dict[str, BatchNormState]:
    """Return the BatchNorm layers that have weight and bias, by path, in the model's order.

    A layer counts by its kind, or by what it holds: frozen and home-made ones are modules with
    `weight`, `bias`, `running_mean` and `running_var` of one length.
    """
    found = {}
    for path, module in model.named_modules():
        own = {**module._parameters, **module._buffers}
        weight, bias = own.get("weight"), own.get("bias")
        mean, var = own.get("running_mean"), own.get("running_var")
        kind = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if weight is None or bias is None or not (kind or (mean is not None and var is not None)):
            continue
        none = weight.new_empty(0)
        state = [
            none if tensor is None else tensor.detach() for tensor in (weight, bias, mean, var)
        ]
        found[path] = BatchNormState(*state, modality=anatomy.owner(path))
    return found


class Observer:
    """Shows replays to probes, once each, and collects what they answer.

    Attributes:
        skipped: probe -> why it cannot answer.
        readout: how unimodal logits are read; None until a probe has needed them.
        examples: how many were seen.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        probes: Mapping[str, Probe],
        heads: Heads | None = None,
    ) -> None:
        self._model = model
        self._anatomy = anatomy
        self._probes = dict(probes)
        self._heads = heads
        self._classes = 0
        self.skipped: dict[str, str] = {}
        self.readout: Readout | None = None
        self.examples = 0

    def see(
        self,
        replay: Replay,
        labels: Tensor,
        *,
        step: int = 0,
        epoch: int = 0,
        training: bool = False,
    ) -> None:
        """Show one batch to every probe that wants it.

        Raises:
            BatchError: labels that do not fit the logits, or logits of another width than before.
        """
        batch, classes = replay.logits_all.shape
        if self._classes not in (0, classes):
            raise BatchError(
                f"The model gave {self._classes} logits per example and now gives {classes}."
            )
        self._classes = classes
        self.examples += 0 if training else batch
        if len(labels) or Need.LABELS in self._needs(self._probes):
            check_labels(labels, classes, batch) if len(labels) else self._skip(Need.LABELS)
        looking = {
            name: probe
            for name, probe in self._probes.items()
            if probe.looks_at(step) and (probe.looks_at_training or not training)
        }
        given = self._given(replay, labels, looking)
        seen = Observation(
            labels.to(replay.logits_all.device, non_blocking=True),
            replay.logits_all.detach(),
            replay.modalities,
            step,
            epoch,
            training,
            **given,
        )
        for name, probe in looking.items():
            try:
                if name in self._probes:
                    probe.observe(seen)
            except NotApplicableError as reason:
                self._drop(name, str(reason))

    def datasets(self) -> dict[str, xr.Dataset]:
        """Return the answer of every probe that has one, by name."""
        answers = {}
        for name, probe in list(self._probes.items()):
            try:
                answers[name] = probe.result()
            except NotApplicableError as reason:
                self._drop(name, str(reason))
        return answers

    def dataset(self, probe: str | None = None) -> xr.Dataset:
        """Return the answer of one probe; its name may be left out where there is only one.

        Raises:
            NotAttachedError: the probe has no answer; the message says why.
            UnknownNameError: no such probe here.
        """
        known = [*self._probes, *self.skipped]
        if probe is None and len(known) == 1:
            probe = known[0]
        if probe not in known:
            raise unknown("probe", probe, known)
        if probe in self.skipped:
            raise NotAttachedError(f"{probe!r} has no answer: {self.skipped[probe]}.")
        return self._probes[probe].result()

    def _given(
        self, replay: Replay, labels: Tensor, looking: Mapping[str, Probe]
    ) -> dict[str, Any]:
        needs = self._needs(looking)
        given: dict[str, Any] = {}
        if Need.BATCHNORMS in needs:
            given["batchnorms"] = self._or_skip(
                Need.BATCHNORMS, batchnorms_of(self._model, self._anatomy)
            )
        if needs & {Need.MODALITY_LOGITS, Need.GRADIENTS} and self.readout is None:
            self.readout = choose_readout(replay, self._heads)
        if Need.MODALITY_LOGITS in needs and self.readout is not None:
            given["modality_logits"] = _detached(read_logits(self.readout, replay, self._heads))
        if Need.FEATURES in needs:
            given["features"] = _detached(replay.features)
        if Need.COALITIONS in needs:
            given["coalitions"] = replay.logits
            given["reruns_encoders"] = bool(replay.claimed_inputs)
        if Need.FUSION in needs:
            given["signals"], given["fusion"] = replay.signals, replay.fuse
        if Need.GRADIENTS in needs and self.readout is not None:
            found = encoder_gradients(replay, labels, self.readout, self._heads)
            given["gradients"] = self._or_skip(Need.GRADIENTS, found)
        return given

    def _or_skip(self, need: Need, found: Mapping[str, Any]) -> Mapping[str, Any]:
        if not found:
            self._skip(need)
        return found

    @staticmethod
    def _needs(probes: Mapping[str, Probe]) -> set[Need]:
        return {need for probe in probes.values() for need in probe.needs}

    def _skip(self, need: Need) -> None:
        for name in [n for n, probe in self._probes.items() if need in probe.needs]:
            self._drop(name, need.value)

    def _drop(self, name: str, reason: str) -> None:
        self.skipped[name] = reason
        del self._probes[name]


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}
