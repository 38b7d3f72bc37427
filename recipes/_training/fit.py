"""What a training with recipes answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from imbalance_lens.notebook import as_table

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Fit:
    """A trained model and what was recorded on the way.

    Attributes:
        model: the user's own model, trained in place.
        heads: modality -> trained unimodal head; empty where no recipe wanted any.
        history: numbers per `step` and `epoch`, also per `modality`, in the schema of all
            results; variables of single steps begin with `step_`.
        best_epoch: the epoch, from 0, with the best validation accuracy (or loss, where there
            are no classes), of those that train the joint logits; None without such an epoch or
            without validation data. Never by test data.
        recipes: names of the recipes, in order.
        readout: how the modalities' own scores were read in training; "" where they were not.
        probes: what the probes saw that watched the training, by name.
    """

    model: nn.Module
    heads: Mapping[str, nn.Module]
    history: xr.Dataset
    best_epoch: int | None
    recipes: tuple[str, ...]
    readout: str
    probes: Mapping[str, xr.Dataset]

    def summary(self) -> str:
        """Return what came out, in a few lines of text."""
        rows = [f"  {told:<34}{number:8.3f}" for told, number in self._numbers()]
        judged = bool(rows) and "val_loss" in self.history
        return "\n".join([self._title + ":" * judged, *rows])

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        rows = [(told, f"{number:.3f}") for told, number in self._numbers()]
        return as_table(("", rows), title=self._title)

    @property
    def _title(self) -> str:
        epochs, steps = self.history.sizes["epoch"], self.history.sizes["step"]
        title = f"{' + '.join(self.recipes)}: {epochs} epochs, {steps} steps"
        if not epochs or "val_loss" not in self.history:
            return title
        which = "last epoch" if self.best_epoch is None else f"best epoch, {self.best_epoch + 1}"
        return f"{title} ({which})"

    def _numbers(self) -> Iterator[tuple[str, float]]:
        epochs, steps = self.history.sizes["epoch"], self.history.sizes["step"]
        if epochs == 0:
            return
        at = epochs - 1 if self.best_epoch is None else self.best_epoch
        told = {"val_accuracy": "validation accuracy", "val_loss": "validation loss"}
        for name, words in told.items():
            if name in self.history:
                yield words, float(self.history[name][at])
        if "val_modality_accuracy" in self.history:
            for name in self.history["modality"].values:
                own = self.history["val_modality_accuracy"].sel(modality=name)
                yield f"accuracy of {name} alone", float(own[at])
        if "step_ratio" in self.history:
            quarter = self.history["step_ratio"][-max(1, steps // 4) :].mean("step")
            for name in self.history["modality"].values:
                yield f"ratio of {name}, last quarter", float(quarter.sel(modality=name))
