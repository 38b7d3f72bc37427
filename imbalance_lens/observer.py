"""From a replayed batch to what every probe wants to see of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from . import checks
from .anatomy import Anatomy
from .anatomy.gradients import encoder_gradients
from .anatomy.readout import ADDITIVE, Heads, Readout, choose_readout, read_logits
from .anatomy.replay import Replay
from .batches import check_labels
from .errors import BatchError, NotApplicableError, SettingError
from .hooks.batchnorm import is_batchnorm
from .observation import BatchNormState, Need, Observation
from .probes import PROBES
from .probes._base import Probe

if TYPE_CHECKING:
    import xarray as xr

ProbeChoice = str | Probe
"""A probe by its name, or one made with settings of its own."""


def chosen_probes(probes: Iterable[ProbeChoice] | None) -> dict[str, Probe]:
    """Return new probes by name; where none are named, all but `unasked_probes`.

    Raises:
        UnknownNameError: no probe of a name.
        SettingError: a name twice, or something that is neither a name nor a probe.
    """
    if probes is None:
        unasked = unasked_probes()
        probes = [name for name in PROBES.names() if name not in unasked]
    elif isinstance(probes, str | Probe) or not isinstance(probes, Iterable):
        probes = [probes]
    made: dict[str, Probe] = {}
    for choice in probes:
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


def unasked_probes() -> dict[str, str]:
    """Return the probes that run only when they are named, each with the reason."""
    reasons = {name: PROBES.get(name).only_when_named for name in PROBES.names()}
    return {
        name: f"it runs only when it is named, for {reason}"
        for name, reason in reasons.items()
        if reason
    }


def batchnorms_of(model: nn.Module, anatomy: Anatomy) -> dict[str, BatchNormState]:
    """Return the BatchNorm layers that have weight and bias, by path, in the model's order.

    A layer counts as `is_batchnorm` says, so frozen and home-made ones are among them.
    """
    found = {}
    for path, module in model.named_modules():
        if not is_batchnorm(module):
            continue
        # What is in effect: a parametrized or an adaptive layer computes its scale and shift.
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, var = (getattr(module, part, None) for part in parts)
        if weight is None or bias is None:
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
        probes: those that can answer so far, by name.
        skipped: probe -> why it cannot answer.
        readout: how unimodal logits are read; None until a probe has needed them.
        examples: how many were seen.
        training_examples: how many of those that the model was trained on, which do not count
            among `examples`.

    Raises:
        SettingError: heads for other modalities than the anatomy's.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        probes: Mapping[str, Probe],
        heads: Heads | None = None,
    ) -> None:
        if heads is not None:
            checks.same_modalities("heads", heads, anatomy.modalities)
        self._model = model
        self._anatomy = anatomy
        self.probes = dict(probes)
        self._heads = heads
        self._classes = 0
        self._rest: Tensor | None = None
        self.skipped: dict[str, str] = {}
        self.readout: Readout | None = None
        self.examples = 0
        self.training_examples = 0

    def see(
        self,
        replay: Replay,
        labels: Tensor,
        *,
        step: int = 0,
        epoch: int = 0,
        training: bool = False,
        live: bool = False,
        comparing: bool = False,
    ) -> None:
        """Show one batch to every probe that wants it.

        Args:
            replay: of the batch.
            labels: (batch,) class indices, or empty.
            step: optimizer step, or batch of the loader.
            epoch: pass over the data.
            training: the examples are a fixed part of those that the model was trained on.
            live: it is a step of a running training; nothing for probes that compare fixed parts.
            comparing: only for probes that compare fixed parts.

        Raises:
            BatchError: labels that do not fit the logits, or logits of another width than before.
        """
        batch, classes = replay.logits_all.shape
        if self._classes not in (0, classes):
            raise BatchError(
                f"The model gave {self._classes} logits per example and now gives {classes}; every "
                "batch must have the same classes. A model that compares the examples of a batch "
                "with each other needs batches of one size (drop_last=True in the DataLoader). Of "
                "any other model, pick the same classes with logits=function."
            )
        self._classes = classes
        self.examples += 0 if training else batch
        self.training_examples += batch if training else 0
        looking = self._looking(step, training, live, comparing)
        if len(labels):
            check_labels(labels, classes, batch)
        else:
            self._skip(Need.LABELS, _UNLABELED if training else "", among=looking)
            looking = {name: probe for name, probe in looking.items() if name in self.probes}
        given = self._given(replay, labels, looking, training)
        seen = Observation(
            labels.to(replay.logits_all.device, non_blocking=True),
            replay.logits_all.detach(),
            replay.modalities,
            step,
            epoch,
            training,
            live,
            **given,
        )
        for name, probe in looking.items():
            try:
                if name in self.probes:
                    probe.observe(seen)
            except NotApplicableError as reason:
                self._drop(name, str(reason))

    def wants(self, need: Need, step: int, *, training: bool = False) -> bool:
        """Say whether a probe asks for this of a batch that is about to be seen."""
        return need in self._needs(self._looking(step, training), training)

    def peaks_only(self, step: int, *, training: bool = False) -> frozenset[str]:
        """Return the places of which no probe that is about to look needs the lower ends."""
        looking = self._looking(step, training).values()
        enough = [probe.peaks_only() for probe in looking if Need.ACTIVATIONS in probe.needs]
        return frozenset.intersection(*enough) if enough else frozenset()

    @property
    def looks_at_training(self) -> bool:
        """Whether any probe wants the examples that the model was trained on."""
        return any(probe.looks_at_training for probe in self.probes.values())

    @property
    def notes(self) -> list[str]:
        """What the batches after the first have shown to be otherwise than it did."""
        worst = 0.0 if self._rest is None else float(self._rest)
        if worst <= ADDITIVE:
            return []
        return [
            "The head adds up on the first batch and not on every other (what is left over: "
            f"{worst:.2g} of the logits), so the logits of one modality alone are a mixture. "
            "Shuffle the examples, or pass heads=."
        ]

    def datasets(self) -> dict[str, xr.Dataset]:
        """Return the answer of every probe that has one, by name."""
        answers = {}
        for name, probe in list(self.probes.items()):
            try:
                answers[name] = probe.result()
            except NotApplicableError as reason:
                self._drop(name, str(reason))
        return answers

    def _given(
        self, replay: Replay, labels: Tensor, looking: Mapping[str, Probe], training: bool
    ) -> dict[str, Any]:
        needs = self._needs(looking, training)
        given: dict[str, Any] = {}
        if Need.BATCHNORMS in needs:
            given["batchnorms"] = self._or_skip(
                Need.BATCHNORMS, batchnorms_of(self._model, self._anatomy)
            )
        if needs & {Need.MODALITY_LOGITS, Need.GRADIENTS} and self.readout is None:
            self.readout = choose_readout(replay, self._heads)
        if Need.MODALITY_LOGITS in needs and self.readout is not None:
            given["modality_logits"] = _detached(read_logits(self.readout, replay, self._heads))
            if self.readout.kind == "linear_split":
                parts = sum(given["modality_logits"].values())
                rest = (replay.logits_all - parts).detach().norm() / replay.logits_all.norm()
                rest = rest.nan_to_num()
                self._rest = rest if self._rest is None else self._rest.maximum(rest)
        if Need.FEATURES in needs:
            given["features"] = _detached(replay.features)
        if Need.COALITIONS in needs:
            given["coalitions"] = replay.logits
            given["reruns_encoders"] = bool(replay.claimed_inputs)
        if Need.FUSION in needs:
            given["signals"], given["fusion"] = replay.signals, replay.fuse
        if Need.ACTIVATIONS in needs:
            given["activations"] = replay.activations
        if Need.GRADIENTS in needs and self.readout is not None:
            try:
                found = encoder_gradients(replay, labels, self.readout, self._heads)
            except NotApplicableError as reason:
                self._skip(Need.GRADIENTS, str(reason))
            else:
                given["gradients"] = self._or_skip(Need.GRADIENTS, found)
        return given

    def _or_skip(self, need: Need, found: Mapping[str, Any]) -> Mapping[str, Any]:
        if not found:
            self._skip(need)
        return found

    def _looking(
        self, step: int, training: bool, live: bool = False, comparing: bool = False
    ) -> dict[str, Probe]:
        def fits(probe: Probe) -> bool:
            return not live if probe.looks_at_training else not (training or comparing)

        return {
            name: probe
            for name, probe in self.probes.items()
            if (live or probe.looks_at(step)) and fits(probe)
        }

    @staticmethod
    def _needs(probes: Mapping[str, Probe], training: bool = False) -> set[Need]:
        def asked(probe: Probe) -> tuple[Need, ...]:
            of_training = probe.needs_of_training if training else None
            return probe.needs if of_training is None else of_training

        return {need for probe in probes.values() for need in asked(probe)}

    def _skip(self, need: Need, reason: str = "", among: Mapping[str, Probe] | None = None) -> None:
        asked = self.probes if among is None else among
        for name in [name for name, probe in asked.items() if need in probe.needs]:
            self._drop(name, reason or need.value)

    def _drop(self, name: str, reason: str) -> None:
        self.skipped[name] = reason
        del self.probes[name]


_UNLABELED = "the training examples have no labels"


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}
