"""Measuring the training examples between two epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import formulas
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind, device_of
from imbalance_lens.errors import BatchError, NotApplicableError, SettingError
from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.loaders import loader_kept

from .._base import Run
from .._distributed import from_all_ranks, rank
from .._history import Quantity
from .confidences import Confidences

CONFIDENCE = Quantity(
    "confidence",
    "1",
    "mean true-class probability that the modality's own head gives to the training examples",
    "imbalance_lens.formulas.scores.label_confidence",
)


class Measuring:
    """Finds how sure modalities alone are of the training examples, epoch by epoch.

    Args:
        online: from the training passes; else in a pass of its own after each epoch.
        dataset: takes the place of the loader's in that pass: the same examples, by the same
            numbers, without augmentation.
        given: what another training has found; then nothing is measured.

    Raises:
        SettingError: a dataset for passes that there are none of.

    Attributes:
        found: the confidences, since a training has begun.
    """

    def __init__(self, *, online: bool, dataset: Any, given: Any) -> None:
        if online and dataset is not None:
            raise SettingError(
                "online=True takes confidences from the training passes, and unaugmented= is a "
                "dataset for passes of their own. Pass one of them."
            )
        self._online = online
        self._dataset = dataset
        self._given = given
        self._passes = Passes()
        self.found = Confidences(())

    def begin(self, run: Run) -> None:
        """Begin a training.

        Raises:
            NotApplicableError: the examples cannot be measured in it.
            SettingError: what is given does not fit.
        """
        self._passes = Passes()
        if self._given is not None:
            self.found = Confidences.given(self._given, run.modalities)
            return
        if run.data is None and not self._online:
            raise NotApplicableError(
                "'fust' measures the training examples after each epoch, which only the bundled "
                "loop can. Use recipes.apply, or pass online=True, or confidences=."
            )
        self.found = Confidences(run.modalities)

    def see(self, run: Run, logits: Mapping[str, Tensor], labels: Tensor) -> None:
        """Take in a training pass, where these are what counts."""
        if self._online and self._given is None:
            self._passes.add(numbers_of(run), logits, labels)

    def close_epoch(self, run: Run, modalities: Sequence[str]) -> None:
        """Take in an epoch in which these modalities were trained, and record it."""
        if self._given is not None:
            return
        told = (
            self._passes.take() if self._online else own_confidences(run, modalities, self._dataset)
        )
        means = dict.fromkeys(run.modalities, float("nan")) | self.found.add(*told)
        run.record_epoch(CONFIDENCE, means)

    def state_dict(self) -> dict[str, Any]:
        """Return what was found so far; every rank has to call this."""
        return {
            "found": self.found.state_dict(),
            "passes": from_all_ranks(self._passes.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.found.load_state_dict(state["found"])
        self._passes.load_state_dict(state["passes"][rank()])


def numbers_of(run: Run) -> Tensor:
    """Return which examples are in this micro-batch.

    Raises:
        NotApplicableError: nobody says.
    """
    if run.numbers is None:
        raise NotApplicableError(
            "'fust' treats each example in its own way, and this batch came without the numbers "
            "of its examples. Call remedy.batch(inputs, labels, numbers)."
        )
    return run.numbers


class Passes:
    """What the training passes of an epoch have told, until the epoch is over."""

    def __init__(self) -> None:
        self._numbers: list[Tensor] = []
        self._told: list[dict[str, Tensor]] = []

    def add(self, numbers: Tensor, logits: Mapping[str, Tensor], labels: Tensor) -> None:
        """Take in a pass; nothing waits for the device.

        Args:
            numbers: (batch,) of the examples.
            logits: modality -> (batch, classes), of its own head.
            labels: (batch,) class indices.
        """
        self._numbers.append(numbers)
        self._told.append(
            {n: formulas.label_confidence(own.detach(), labels) for n, own in logits.items()}
        )

    def take(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return numbers and confidences of all examples, on the host, and forget them."""
        state = self.state_dict()
        self._numbers, self._told = [], []
        return state["numbers"], state["confidences"]

    def state_dict(self) -> dict[str, Any]:
        """Return what was told so far."""
        names = self._told[0] if self._told else {}
        return {
            "numbers": torch.cat([_NO_NUMBERS, *(own.cpu() for own in self._numbers)]),
            "confidences": {
                name: torch.cat([told[name] for told in self._told]).cpu() for name in names
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._numbers, self._told = [], []
        if len(state["numbers"]):
            self._numbers, self._told = [state["numbers"]], [dict(state["confidences"])]


_NO_NUMBERS = torch.empty(0, dtype=torch.int64)


def own_confidences(
    run: Run, modalities: Sequence[str], dataset: Any = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return how sure modalities alone are of this rank's share of the training examples.

    One pass in eval mode; model, data and random states are the same afterwards.

    Args:
        run: with data and heads.
        modalities: which of them.
        dataset: takes the place of the loader's: the same examples, by the same numbers.

    Returns:
        The examples' numbers, and modality -> true-class probability by its own head, (examples,).

    Raises:
        NotApplicableError: there are no data or no heads.
        BatchError: examples without numbers.
    """
    if run.data is None or run.heads is None:
        raise NotApplicableError("Training examples are measured in the bundled loop only.")
    device = device_of(run.model)
    numbers: list[Tensor] = []
    found: dict[str, list[Tensor]] = {name: [] for name in modalities}
    with ExitStack() as stack:
        stack.enter_context(loader_kept(run.data.loader))
        replayer = stack.enter_context(Replayer(run.model, run.anatomy, logits_of=run.logits_of))
        stack.enter_context(frozen(run.heads))
        if run.plan is not None:
            stack.enter_context(run.plan.autocast())
        for inputs, labels, own in run.data.examples(dataset):
            if own is None:
                raise BatchError("A batch came without the numbers of its examples.")
            features = replayer.capture(bind(run.model, inputs).to(device)).features
            numbers.append(own)
            for name, values in found.items():
                logits = run.heads[name](features[name])
                values.append(formulas.label_confidence(logits, labels.to(device)))
    none = torch.empty(0, device=device)
    confidences = {name: torch.cat([none, *values]).cpu() for name, values in found.items()}
    return torch.cat([_NO_NUMBERS, *numbers]), confidences
