"""What is kept beside a training: history, validation, best weights, checkpoints, progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from imbalance_lens.errors import CheckpointError
from imbalance_lens.lens import Lens
from imbalance_lens.progress import bar

from .._data.batches import TrainingLoader
from .._distributed import is_main, world_size
from .._history import LEARNING_RATE, SECONDS, THROUGHPUT, Quantity
from .._treatment import Treatment
from .checkpoint import Checkpoints, random_states, set_random_states
from .logs import Log
from .plan import Plan
from .state import TrainingState
from .validation import Validation
from .vigil import Vigil, check_weights


@dataclass
class Books:
    """Keeps the books of a training.

    Attributes:
        treatment: the recipes at work.
        loader: of the training examples.
        plan: how the training goes.
        validation: measured after every epoch, where there is any.
        watch: probes on the running training, where there are any.
        log: told of every step and epoch once the epoch has ended.
        checkpoints: where the state is kept, if anywhere.
        checkpoint_every: steps of an epoch after which it is kept too; None: after epochs only.
        resume_from: False, True or "previous".
        patience: epochs without a better validation before the training stops; None: never.
        keep_best: whether the model ends with the weights of its best epoch.
        show_progress: None: in a terminal and in a notebook.
        batches_done: micro-batches of the running epoch that are done.
        best_epoch: by validation accuracy, or loss where there are no classes, of those epochs
            in which the joint logits are trained; None: there was none so far.
    """

    treatment: Treatment
    loader: TrainingLoader
    plan: Plan
    validation: Validation | None = None
    watch: Lens | None = None
    log: Log | None = None
    checkpoints: Checkpoints | None = None
    checkpoint_every: int | None = None
    resume_from: bool | str = True
    patience: int | None = None
    keep_best: bool = False
    show_progress: bool | None = None

    batches_done: int = field(default=0, init=False)
    best_epoch: int | None = field(default=None, init=False)
    best_value: float = field(default=float("-inf"), init=False)
    _best: dict[str, Tensor] | None = field(default=None, init=False)
    _epoch_start: dict[str, Any] = field(default_factory=dict, init=False)
    _after_skip: dict[str, Any] | None = field(default=None, init=False)
    _steps: int = field(default=0, init=False)
    _examples: int = field(default=0, init=False)
    _seconds: float = field(default=0.0, init=False)
    _begun: float = field(default=0.0, init=False)
    _open: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        if self.watch is not None:
            self._open.enter_context(self.watch)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def resume(self) -> None:
        """Go on where the newest checkpoint ends, if there is one.

        Raises:
            CheckpointError: it is damaged, or of another training.
        """
        if self.checkpoints is None or self.resume_from is False:
            return
        loaded = self.checkpoints.load("previous" if self.resume_from == "previous" else "latest")
        if loaded is None:
            return
        books = TrainingState(self.treatment, self.plan).load(loaded.weights, loaded.state)
        self.batches_done = books["batches_done"]
        self.best_epoch, self.best_value = books["best_epoch"], books["best_value"]
        self._examples, self._seconds = books["examples"], books["seconds"]
        if self.batches_done:
            self._epoch_start, self._after_skip = books["epoch_start"], books["random"]
            set_random_states(self._epoch_start["random"])
            self.loader.set_state(self._epoch_start["loader"])
        else:
            set_random_states(books["random"])
            self.loader.set_state(books["loader"])
        if self.keep_best and self.best_epoch is not None:
            self._best = self.checkpoints.load_best()
            if self._best is None:
                raise CheckpointError(
                    f"{self.checkpoints.folder} holds no weights of the best epoch so far, "
                    f"{self.best_epoch + 1}. Pass keep='last', or start anew with resume=False."
                )

    def start_epoch(self) -> bool:
        """Begin an epoch; say whether it is begun for the first time."""
        self._begun = time.perf_counter()
        self._steps = 0
        resumed = self.batches_done > 0
        if self.checkpoints is not None and not resumed:
            self._epoch_start = {"random": random_states(), "loader": self.loader.state()}
        return not resumed

    def batches(self, epoch: int) -> Iterator[tuple[Any, Tensor, Tensor | None]]:
        """Yield inputs, labels and numbers of what is left of an epoch, behind a bar."""
        batches = self.loader.numbered_epoch(epoch, skip=self.batches_done)
        if self._after_skip is not None:
            set_random_states(self._after_skip)
            self._after_skip = None
        yield from bar(
            batches,
            show=self.show_progress if is_main() else False,
            desc=f"epoch {epoch + 1}/{self.plan.epochs}",
            unit="batch",
            initial=self.batches_done,
            total=self.loader.batches,
        )

    def see(self, labels: Tensor) -> None:
        """Let the probes look at the last training pass."""
        if self.watch is not None:
            self.watch.see(labels)

    def close_step(self, batches: int, examples: int, vigil: Vigil) -> None:
        """Count a step, and keep the state where it is time to."""
        self.batches_done += batches
        self._examples += examples
        self._steps += 1
        if self.watch is not None:
            self.watch.step()
        every = self.checkpoint_every
        if self.checkpoints is not None and every and self._steps % every == 0:
            vigil.check()
            self._seconds += time.perf_counter() - self._begun
            self._begun = time.perf_counter()
            self._keep()

    @property
    def out_of_patience(self) -> bool:
        """Whether the last epochs were no better than the best one."""
        if self.patience is None or self.best_epoch is None or self.batches_done:
            return False
        return self.treatment.run.epoch - 1 - self.best_epoch >= self.patience

    def close_epoch(self) -> None:
        """Validate, record, keep the state."""
        self._seconds += time.perf_counter() - self._begun
        numbers: dict[str, tuple[Quantity, Any]] = {
            "learning_rate": (LEARNING_RATE, float(self.plan.optimizer.param_groups[0]["lr"])),
            "seconds": (SECONDS, self._seconds),
            "throughput": (THROUGHPUT, self._examples * world_size() / max(self._seconds, 1e-9)),
        }
        if self.validation is not None:
            numbers |= self.validation.measure(
                self.treatment.run,
                self.plan.device,
                self.treatment.logits_of,
                self.plan.autocast,
            )
        self.treatment.history.close_epoch(numbers)
        measured = {name: value for name, (_, value) in numbers.items()}
        self._judge(measured)
        self._step_scheduler(measured)
        if self.watch is not None:
            self.watch.epoch()
        self.batches_done, self._examples, self._seconds = 0, 0, 0.0
        if self.checkpoints is not None:
            self._keep()
        if self.log is not None and is_main():  # last: what it raises costs nothing of the epoch
            self.treatment.history.tell(self.log)

    def end(self) -> None:
        """Give the model the weights of its best epoch, where that is wanted."""
        if self._best is not None:
            TrainingState(self.treatment, self.plan).load_weights(self._best)

    def _judge(self, measured: dict[str, Any]) -> None:
        value = measured.get("val_accuracy", -measured.get("val_loss", float("nan")))
        epoch = self.treatment.run.epoch - 1
        acting = (recipe for recipe in self.treatment.recipes if recipe.acts_in(epoch))
        if not (all(recipe.trains_joint for recipe in acting) and value > self.best_value):
            return
        self.best_value, self.best_epoch = value, epoch
        if self.keep_best:
            weights = TrainingState(self.treatment, self.plan).weights()
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            if self.checkpoints is not None and is_main():
                self.checkpoints.save_best(self._best)

    def _step_scheduler(self, measured: dict[str, Any]) -> None:
        scheduler = self.plan.scheduler
        if scheduler is None or self.plan.per_step:
            return
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(measured["val_loss"])
        else:
            scheduler.step()

    def _keep(self) -> None:
        check_weights(self.plan.parameters, self.treatment.run.step)
        books = {
            "batches_done": self.batches_done,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "examples": self._examples,
            "seconds": self._seconds,
            "epoch_start": self._epoch_start,
            "random": random_states(),
            "loader": self.loader.state(),
        }
        training = TrainingState(self.treatment, self.plan)
        state = training.state(books)  # on every rank: the history sums over ranks
        if self.checkpoints is not None and is_main():
            self.checkpoints.save(self.treatment.run.step, training.weights(), state)
