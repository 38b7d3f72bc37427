"""Watching for a loss that is no longer a number, without waiting for the device in every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from imbalance_lens.errors import TrainingError

_ADVICE = "Lower the learning rate, pass clip_norm=, or look for NaN in the data."

EVERY = 50
"""Steps between two looks at an accelerator's losses; a CPU's are looked at in every step."""


def check_weights(parameters: Iterable[Tensor], step: int) -> None:
    """Complain about weights that are not worth keeping; waits for the device.

    The loss of the step that breaks them may still be a number.

    Raises:
        TrainingError: one is no longer a number.
    """
    if not all(parameter.isfinite().all() for parameter in parameters):
        raise TrainingError(
            f"After {step} steps, weights are NaN or infinite; checkpoints written before are "
            f"kept. {_ADVICE}"
        )


class Vigil:
    """Remembers on the device at which step the loss went bad.

    Args:
        patience: how many bad steps in a row are tolerated; a GradScaler needs some to find its
            scale, and leaves them out.
    """

    def __init__(self, *, patience: int = 0) -> None:
        self._patience = patience
        self._steps = 0
        self._row: Tensor | None = None
        self._first: Tensor | None = None

    def see(self, losses: Sequence[Tensor]) -> None:
        """Take in the losses of a step's micro-batches.

        Raises:
            TrainingError: as `check`, when it is time to look.
        """
        bad = ~torch.isfinite(torch.stack(list(losses))).all()
        if self._row is None or self._first is None:
            self._row = torch.zeros((), dtype=torch.int64, device=bad.device)
            self._first = torch.full((), -1, dtype=torch.int64, device=bad.device)
        self._row = torch.where(bad, self._row + 1, 0)
        begins = (self._row > self._patience) & (self._first < 0)
        self._first = torch.where(begins, self._steps - self._patience, self._first)
        self._steps += 1
        if bad.device.type == "cpu" or self._steps % EVERY == 0:
            self.check()

    def check(self) -> None:
        """Complain if the loss has gone bad; waits for the device.

        Raises:
            TrainingError: it has; the message names the step.
        """
        first = -1 if self._first is None else int(self._first)
        if first >= 0:
            raise TrainingError(
                f"The loss is NaN or infinite at step {first} of this run; checkpoints written "
                f"before are kept. {_ADVICE}"
            )
