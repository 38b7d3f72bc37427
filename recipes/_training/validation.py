"""What the model says of examples that it is not trained on, as a whole and per modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import formulas
from imbalance_lens.anatomy.readout import Readout, choose_readout, read_logits
from imbalance_lens.anatomy.replay import Replay
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind, check_labels
from imbalance_lens.errors import BatchError
from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.loaders import loader_kept

from .._base import Run
from .._data.batches import ValidationLoader
from .._distributed import from_all_ranks
from .._history import Quantity
from .._tasks import classifies

VAL_LOSS = Quantity("val_loss", "nat", "validation loss", "recipes._training.validation.Validation")
VAL_ACCURACY = Quantity(
    "val_accuracy",
    "1",
    "share of the validation examples classified correctly",
    "imbalance_lens.formulas.scores.correct",
)
VAL_MODALITY_ACCURACY = Quantity(
    "val_modality_accuracy",
    "1",
    "share of the validation examples that the modality's own logits classify correctly",
    "imbalance_lens.formulas.scores.correct",
)
VAL_SCORE = Quantity(
    "val_score",
    "1",
    "mean true-class probability of the modality's own logits in validation",
    "imbalance_lens.formulas.scores.label_confidence",
)


class Validation:
    """Measures a model on a loader; the model is frozen meanwhile and the same afterwards.

    Args:
        loader: gives (inputs, labels), to each rank its share.
    """

    def __init__(self, loader: ValidationLoader) -> None:
        self._loader = loader
        self._readout: Readout | None = None

    def check(
        self,
        run: Run,
        device: torch.device,
        logits_of: Callable[[Any], Tensor],
        autocast: Callable[[], Any],
        *,
        epochs: int,
    ) -> None:
        """Complain before a training of what would break it after its first epoch.

        The first batch is tried out, unless the loader can be gone through only once and would
        lose it; no random state is another afterwards.

        Raises:
            BatchError: the loader gives no batch, none with labels that can be judged, or cannot
                be gone through as often as is needed.
        """
        self._loader.check_epochs(epochs)
        if self._loader.single_pass:
            return
        with ExitStack() as stack:
            stack.enter_context(loader_kept(self._loader.loader))
            replayer = stack.enter_context(Replayer(run.model, run.anatomy, logits_of=logits_of))
            stack.enter_context(autocast())
            for inputs, labels in self._loader:
                replay = replayer.capture(bind(run.model, inputs).to(device))
                try:
                    _row(replay.logits_all, {}, _judged(labels, replay).to(device), run.loss)
                except BatchError as error:
                    raise BatchError(f"The validation data do not fit. {error}") from error
                return

    def measure(
        self,
        run: Run,
        device: torch.device,
        logits_of: Callable[[Any], Tensor],
        autocast: Callable[[], Any],
    ) -> dict[str, tuple[Quantity, Any]]:
        """Return loss and, for classes, accuracies and scores; summed over ranks."""
        heads = None if run.heads is None else dict(run.heads.items())
        sums: Tensor | None = None
        with ExitStack() as stack:
            stack.enter_context(loader_kept(self._loader.loader))
            replayer = Replayer(run.model, run.anatomy, logits_of=logits_of)
            stack.enter_context(replayer)
            if run.heads is not None:
                stack.enter_context(frozen(run.heads))
            stack.enter_context(autocast())
            for inputs, labels in self._loader:
                replay = replayer.capture(bind(run.model, inputs).to(device))
                labels = _judged(labels, replay).to(device)
                if self._readout is None:
                    self._readout = choose_readout(replay, heads)
                own = read_logits(self._readout, replay, heads)
                row = _row(replay.logits_all, own, labels, run.loss)
                sums = row if sums is None else sums + row
        own_row = None if sums is None else sums.tolist()
        rows = [row for row in from_all_ranks(own_row) if row]  # a rank's share may be empty
        return self._numbers([sum(column) for column in zip(*rows, strict=True)], run.modalities)

    def _numbers(
        self, sums: Sequence[float], modalities: Sequence[str]
    ) -> dict[str, tuple[Quantity, Any]]:
        examples, loss, *rest = sums
        found: dict[str, tuple[Quantity, Any]] = {"val_loss": (VAL_LOSS, loss / examples)}
        if rest:
            correct, *own = (number / examples for number in rest)
            count = len(modalities)
            known = self._readout.identifiable if self._readout else {}
            accuracies = [
                value if known.get(name, True) else float("nan")
                for name, value in zip(modalities, own[:count], strict=True)
            ]
            found["val_accuracy"] = (VAL_ACCURACY, correct)
            found["val_modality_accuracy"] = (VAL_MODALITY_ACCURACY, accuracies)
            found["val_score"] = (VAL_SCORE, own[count:])
        return found


def _judged(labels: Tensor, replay: Replay) -> Tensor:
    """Return the labels; complain if they are classes that the model's logits do not have."""
    logits = replay.logits_all
    if classifies(labels) and labels.device.type == "cpu":  # elsewhere a look would wait
        check_labels(labels, logits.shape[1], len(logits))
    return labels


def _row(
    logits: Tensor, own: Mapping[str, Tensor], labels: Tensor, loss: Callable[..., Tensor]
) -> Tensor:
    numbers = [torch.tensor(len(labels), device=logits.device), loss(logits, labels) * len(labels)]
    if classifies(labels):
        numbers.append(formulas.correct(logits, labels).sum())
        numbers += [formulas.correct(given, labels).sum() for given in own.values()]
        numbers += [formulas.label_confidence(given, labels).sum() for given in own.values()]
    return torch.stack([number.double() for number in numbers])
