"""What a training with recipes answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

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
        epochs, steps = self.history.sizes["epoch"], self.history.sizes["step"]
        lines = [f"{' + '.join(self.recipes)}: {epochs} epochs, {steps} steps"]
        if epochs == 0:
            return lines[0]
        at = epochs - 1 if self.best_epoch is None else self.best_epoch
        which = "last epoch" if self.best_epoch is None else f"best epoch, {at + 1}"
        lines[0] += f" ({which}):" if "val_loss" in self.history else ""
        told = {"val_accuracy": "validation accuracy", "val_loss": "validation loss"}
        for name, words in told.items():
            if name in self.history:
                lines.append(f"  {words:<34}{float(self.history[name][at]):8.3f}")
        if "val_modality_accuracy" in self.history:
            for name in self.history["modality"].values:
                own = float(self.history["val_modality_accuracy"].sel(modality=name)[at])
                lines.append(f"  {'accuracy of ' + str(name) + ' alone':<34}{own:8.3f}")
        if "step_ratio" in self.history:
            quarter = self.history["step_ratio"][-max(1, steps // 4) :].mean("step")
            for name in self.history["modality"].values:
                ratio = float(quarter.sel(modality=name))
                lines.append(f"  {'ratio of ' + str(name) + ', last quarter':<34}{ratio:8.3f}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()
