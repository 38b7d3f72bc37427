"""What was recorded of a training, step by step and epoch by epoch, with units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imbalance_lens import schema

from ._distributed import sum_over_ranks, world_size

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Quantity:
    """A recorded number: its name in the history and what it means."""

    name: str
    units: str
    long_name: str
    formula: str
    per_rank: bool = False
    """Whether every rank records its own, so that the mean over ranks is meant."""
    over: str = "modality"
    """Over what one that has several values goes: "modality", or "head" for the joint one too."""


SCORE = Quantity(
    "score",
    "1",
    "mean true-class probability of the modality's own logits in training",
    "imbalance_lens.formulas.scores.label_confidence",
)
ERROR = Quantity(
    "error",
    "1",
    "mean squared error of the modality's own predictions in training",
    "imbalance_lens.formulas.scores.squared_error",
)
RATIO = Quantity(
    "ratio",
    "1",
    "discrepancy ratio; above 1 the modality is ahead",
    "imbalance_lens.formulas.discrepancy.discrepancy_ratio",
)
LOSS = Quantity(
    "loss",
    "nat",
    "training loss, recipes' terms included",
    "recipes._training.loop.fit",
    per_rank=True,
)
CORRECT = Quantity(
    "accuracy",
    "1",
    "share of the training examples classified correctly",
    "imbalance_lens.formulas.scores.correct",
    per_rank=True,
)
LEARNING_RATE = Quantity(
    "learning_rate", "1", "learning rate of the first parameter group", "recipes._training.loop.fit"
)
SECONDS = Quantity("seconds", "s", "time of the training steps", "recipes._training.loop.fit")
THROUGHPUT = Quantity(
    "throughput",
    "1/s",
    "training examples per second, all ranks together",
    "recipes._training.loop.fit",
)


class History:
    """Numbers of a training; those of a step stay on the device until `close_epoch`.

    Args:
        modalities: their names, in order.
    """

    def __init__(self, modalities: Iterable[str]) -> None:
        own = tuple(modalities)
        self._names = {"modality": own, "head": (*own, schema.JOINT)}
        self._quantities: dict[str, Quantity] = {}
        self._open: list[dict[str, Tensor]] = []
        self._steps: dict[str, Tensor] = {}
        self._epochs: list[dict[str, Any]] = []
        self._step_epochs: list[int] = []
        self._of_epoch: dict[str, list[float]] = {}

    def step(self) -> None:
        """Begin a step; what is recorded from now on is its own."""
        self._open.append({})

    def record(self, quantity: Quantity, values: Mapping[str, Tensor] | Tensor) -> None:
        """Record one scalar, or one per modality or head, of the step that has begun."""
        if not self._open:
            self.step()
        if not isinstance(values, Tensor):
            names = self._names[quantity.over]
            values = torch.stack([values[name].detach().float() for name in names])
        self._quantities[quantity.name] = quantity
        self._open[-1][quantity.name] = values.detach()

    def record_epoch(self, quantity: Quantity, values: Mapping[str, float]) -> None:
        """Record one number per modality or head of the epoch that is under way."""
        self._quantities[quantity.name] = quantity
        self._of_epoch[quantity.name] = [values[name] for name in self._names[quantity.over]]

    def close_epoch(self, numbers: Mapping[str, tuple[Quantity, Any]]) -> None:
        """Move the epoch's steps to the host, and add numbers of the epoch as a whole."""
        self.flush()
        for quantity, _ in numbers.values():
            self._quantities[quantity.name] = quantity
        self._epochs.append({name: value for name, (_, value) in numbers.items()} | self._of_epoch)
        self._of_epoch = {}

    def flush(self) -> None:
        """Move the steps recorded so far to the host; waits for the device and all ranks."""
        names = {name for step in self._open for name in step}
        before = len(self._step_epochs)
        for name in sorted(names):
            shape = next(step[name] for step in self._open if name in step).shape
            rows = [step.get(name, torch.full(shape, torch.nan)) for step in self._open]
            device = next(step[name] for step in self._open if name in step).device
            column = torch.stack([row.to(device, torch.float64) for row in rows])
            if self._quantities[name].per_rank:
                column = sum_over_ranks(column) / world_size()
            column = column.cpu()
            if name not in self._steps:
                self._steps[name] = torch.full((before, *shape), torch.nan, dtype=torch.float64)
            self._steps[name] = torch.cat([self._steps[name], column])
        for name in self._steps.keys() - names:
            kept = self._steps[name]
            gap = kept.new_full((len(self._open), *kept.shape[1:]), torch.nan)
            self._steps[name] = torch.cat([kept, gap])
        self._step_epochs += [len(self._epochs)] * len(self._open)
        self._open = []

    def tell(self, log: Callable[[dict[str, float], int], None]) -> None:
        """Tell a log of the last epoch: each of its steps, then what it was as a whole."""
        epoch = len(self._epochs) - 1
        steps = [step for step, of in enumerate(self._step_epochs) if of == epoch]
        for step in steps:
            log(self._named({n: column[step].tolist() for n, column in self._steps.items()}), step)
        if steps:
            log(self._named(self._epochs[-1]), steps[-1])

    def _named(self, numbers: Mapping[str, Any]) -> dict[str, float]:
        flat: dict[str, float] = {}
        for name, value in numbers.items():
            if isinstance(value, list):
                names = self._names[self._quantities[name].over]
                flat |= {f"{name}/{of}": v for of, v in zip(names, value, strict=True)}
            else:
                flat[name] = value
        return flat

    def dataset(self, settings: Mapping[str, Any]) -> xr.Dataset:
        """Return everything recorded, over `step`, `epoch`, `modality` and, if need be, `head`."""
        self.flush()
        variables, by_epoch = {}, {}
        for name, values in self._steps.items():
            several = self._quantities[name].over
            dims = ("step",) if values.ndim == 1 else ("step", several)
            variables[f"step_{name}"] = self._variable(name, dims, values.numpy())
        for name in {name: None for numbers in self._epochs for name in numbers}:
            by_epoch[name] = [numbers.get(name) for numbers in self._epochs]
        for name, column in by_epoch.items():
            width = next(len(v) if isinstance(v, list) else 0 for v in column if v is not None)
            missing = [float("nan")] * width if width else float("nan")
            rows = torch.tensor([missing if v is None else v for v in column], dtype=torch.float64)
            dims = ("epoch", self._quantities[name].over) if width else ("epoch",)
            variables[name] = self._variable(name, dims, rows.numpy())
        coords: dict[str, Any] = {
            "step": list(range(len(self._step_epochs))),
            "epoch": list(range(len(self._epochs))),
            "modality": list(self._names["modality"]),
            "step_epoch": ("step", self._step_epochs),
        }
        if any("head" in variable.dims for variable in variables.values()):
            coords["head"] = list(self._names["head"])
        return schema.dataset(variables, coords, settings=dict(settings))

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values; waits for the device."""
        self.flush()
        return {
            "quantities": {name: asdict(quantity) for name, quantity in self._quantities.items()},
            "steps": dict(self._steps),
            "epochs": list(self._epochs),
            "step_epochs": list(self._step_epochs),
            "of_epoch": dict(self._of_epoch),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._quantities = {name: Quantity(**q) for name, q in state["quantities"].items()}
        self._steps = dict(state["steps"])
        self._epochs = list(state["epochs"])
        self._step_epochs = list(state["step_epochs"])
        self._of_epoch = dict(state["of_epoch"])
        self._open = []

    def _variable(self, name: str, dims: tuple[str, ...], values: Any) -> xr.Variable:
        quantity = self._quantities[name]
        return schema.variable(
            dims,
            values,
            units=quantity.units,
            long_name=quantity.long_name,
            formula=quantity.formula,
        )
