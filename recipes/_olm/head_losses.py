"""What every head loses on a few examples, held-out and training ones, before and in a training."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import Split, bind, check_labels, device_of
from imbalance_lens.errors import BatchError, SettingError
from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.loaders import iterated, loader_kept, no_batch

from .._base import Run
from .._data.numbering import labeled
from .._distributed import sum_over_ranks
from .._g_blend.parts import some_in_order
from .._history import Quantity
from .._tasks import classifies
from .._training.seeds import seeded

TRAINING, HELD_OUT = (
    Quantity(
        name,
        "nat",
        f"loss of the head on a few {what} examples, in eval mode",
        "recipes._olm.head_losses.FixedExamples.losses",
        over="head",
    )
    for name, what in (("head_train_loss", "training"), ("head_val_loss", "held-out"))
)
SEED = 0
"""Of the choice of examples: the same in a training and in one that resumes it."""


class FixedExamples:
    """A few batches of a loader, kept as the loader gave them.

    Of numbered examples some are drawn, whatever their order; of others the first are taken.
    Neither the loader nor any random state is different afterwards.

    Args:
        loader: gives batches with labels.
        batches: how many are kept.
        split: as `raw_batch` takes it.
        name: of the loader, for messages.

    Raises:
        BatchError: there is no batch, or one without labels.
    """

    def __init__(
        self, loader: Iterable[Any], batches: int, *, split: Split | None, name: str
    ) -> None:
        size = loader.batch_size if isinstance(loader, DataLoader) else None
        with seeded(SEED), loader_kept(loader):
            source = some_in_order(loader, batches * size, SEED) if size else loader
            given = islice(iterated(source, name), batches)
            self.batches = [labeled(batch, split)[:2] for batch in given]
        if not self.batches:
            raise no_batch(name)
        if not all(labels.numel() for _, labels in self.batches):
            raise BatchError(
                f"{name} gave no labels, and no loss can be measured without. Give "
                "(inputs, labels), or what split=function takes."
            )

    def losses(self, run: Run) -> Tensor:
        """Return the mean loss of each modality's head and of the model, in eval mode.

        The model is frozen meanwhile and the same afterwards.

        Returns:
            (heads,), the modalities in order and then the model; over all ranks.
        """
        if run.heads is None:
            raise SettingError("The losses of heads are measured, and there are none.")
        device = device_of(run.model)
        rows: list[Tensor] = []
        with ExitStack() as stack:
            replayer = Replayer(run.model, run.anatomy, logits_of=run.logits_of)
            stack.enter_context(replayer)
            stack.enter_context(frozen(run.heads))
            if run.plan is not None:
                stack.enter_context(run.plan.autocast())
            for inputs, labels in self.batches:
                replay = replayer.capture(bind(run.model, inputs).to(device))
                logits = [*run.heads(replay.features).values(), replay.logits_all]
                if classifies(labels) and labels.device.type == "cpu":
                    check_labels(labels, logits[-1].shape[1], len(logits[-1]))
                given = labels.to(device, non_blocking=True)
                row = [run.loss(z.reshape(logits[-1].shape), given) for z in logits]
                rows.append(torch.stack([*row, torch.ones_like(row[0])]).double() * len(labels))
        *sums, examples = sum_over_ranks(torch.stack(rows).sum(0)).unbind()
        return (torch.stack(sums) / examples).float()


class HeadLosses:
    """The losses of all heads on fixed examples, every so many steps.

    Args:
        recipe: the name of the one that asks, for messages.
        run: of the training, at its start.
        val: loader of held-out examples.
        train: loader of training examples. None: that of the loop.
        batches: how many of each are kept.
        every: steps between two measurements.

    Raises:
        SettingError: there is no such loader.

    Attributes:
        start: (2, heads), training and held-out losses when they were first measured, or None.
        now: (2, heads), those last measured, or None.
    """

    def __init__(
        self,
        recipe: str,
        run: Run,
        val: Iterable[Any] | None,
        train: Iterable[Any] | None,
        *,
        batches: int,
        every: int,
    ) -> None:
        if val is None:
            raise SettingError(
                f"{recipe!r} compares losses on training examples with losses on held-out ones. "
                "Pass val=, a loader of examples that are neither trained nor tested on."
            )
        if train is None and run.data is None:
            raise SettingError(
                f"{recipe!r} measures losses on training examples, and in a loop of your own it "
                "does not know these. Pass train=, the loader."
            )
        split = None if run.data is None else run.data.split
        source = run.data.loader if train is None and run.data is not None else train
        self._parts = [
            FixedExamples(loader, batches, split=split, name=name)
            for loader, name in ((source, "train"), (val, "val"))
            if loader is not None
        ]
        self._every = every
        self._measured_at: int | None = None
        self._told = True
        self.start: Tensor | None = None
        self.now: Tensor | None = None

    def look(self, run: Run) -> bool:
        """Measure before a step, where it is time to; say whether that was done."""
        due = self.start is None or run.step % self._every == 0
        if not due or self._measured_at == run.step:  # once per step, not per micro-batch
            return False
        self._measured_at = run.step
        self.now = torch.stack([part.losses(run) for part in self._parts])
        if self.start is None:
            self.start = self.now
        self._told = False
        return True

    def start_and_now(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return training and held-out losses at the start, and those now; (heads,) each."""
        if self.start is None or self.now is None:
            raise RuntimeError("nothing was measured yet")
        (train_start, dev_start), (train, dev) = self.start, self.now
        return train_start, dev_start, train, dev

    def news(self) -> dict[Quantity, Tensor]:
        """Return the losses that were measured since the last call, (heads,) each."""
        if self._told or self.now is None:
            return {}
        self._told = True
        return dict(zip((TRAINING, HELD_OUT), self.now.unbind(), strict=True))
