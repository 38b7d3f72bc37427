"""How sure each modality alone is of every training example, over the epochs of a training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imbalance_lens import schema
from imbalance_lens.errors import SettingError

from .._distributed import from_all_ranks

if TYPE_CHECKING:
    import xarray as xr


class Confidences:
    """The mean confidence of every example and modality, and how much it varied over epochs.

    On the host, in double precision, by the numbers of the examples. The statistics are those of
    Swayamdipta et al., Dataset Cartography (EMNLP 2020): mean and standard deviation of the
    true-class probability over epochs, merged epoch by epoch.

    Args:
        modalities: their names, in order.

    Attributes:
        numbers: (examples,) int64, ascending.
        mean: (modalities, examples); NaN where nothing was measured.
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = tuple(modalities)
        self.numbers = torch.empty(0, dtype=torch.int64)
        self.mean = torch.empty(len(self.modalities), 0, dtype=torch.float64)
        self._squares = torch.empty_like(self.mean)
        self._epochs = torch.empty_like(self.mean)

    def add(self, numbers: Tensor, measured: Mapping[str, Tensor]) -> dict[str, float]:
        """Take in an epoch; each rank has to call this.

        Args:
            numbers: (examples,) of those that this rank has measured, any of them several times.
            measured: modality -> (examples,) confidence; modalities may be left out.

        Returns:
            The mean over all examples of each modality that was measured, of this epoch.
        """
        gathered = from_all_ranks((numbers, dict(measured)))
        everything = torch.cat([own for own, _ in gathered])
        unique, rows = everything.unique(return_inverse=True)
        self._grow(unique)
        at = torch.searchsorted(self.numbers, unique)
        times = torch.zeros(len(unique), dtype=torch.float64).index_add_(
            0, rows, torch.ones(len(rows), dtype=torch.float64)
        )
        means: dict[str, float] = {}
        for name in measured:
            values = torch.cat([given[name].double() for _, given in gathered])
            sums = torch.zeros(len(unique), dtype=torch.float64).index_add_(0, rows, values)
            means[name] = float((sums / times).mean())
            self._merge(self.modalities.index(name), at, sums / times)
        return means

    def of(self, name: str) -> Tensor:
        """Return the mean confidence of each example, (examples,), NaN where never measured."""
        return self.mean[self.modalities.index(name)]

    def rows(self, numbers: Tensor) -> Tensor:
        """Return where examples are in a row of all, (batch,); past its end what is unknown."""
        given, count = numbers.cpu(), len(self.numbers)
        if not count:
            return torch.zeros_like(given)
        at = torch.searchsorted(self.numbers, given).clamp_max(count - 1)
        return torch.where(self.numbers[at] == given, at, count)

    def dataset(self, settings: Mapping[str, Any]) -> xr.Dataset:
        """Return them in the schema of all results."""
        epochs = self._epochs.nan_to_num(0)
        formula = "imbalance_lens.formulas.scores.label_confidence"
        dims = ("modality", "example")
        words = "true-class probability of the modality's own head"
        variables = {
            "confidence": schema.variable(
                dims, self.mean.numpy(), units="1", long_name=f"mean {words}", formula=formula
            ),
            "variability": schema.variable(
                dims,
                (self._squares / epochs).sqrt().numpy(),
                units="1",
                long_name=f"standard deviation over epochs of the {words}",
                formula=formula,
            ),
            "epochs": schema.variable(
                dims,
                epochs.to(torch.int64).numpy(),
                units="1",
                long_name="number of epochs in which the example was measured",
                formula="recipes._fust.confidences.Confidences",
            ),
        }
        coords = {"modality": list(self.modalities), "example": self.numbers.numpy()}
        return schema.dataset(variables, coords, settings=settings)

    @classmethod
    def given(
        cls, source: xr.Dataset | str | os.PathLike[str], modalities: Sequence[str]
    ) -> Confidences:
        """Return those of another training.

        Args:
            source: what `dataset` gave, or a netCDF file of it.
            modalities: of the model.

        Raises:
            SettingError: it is of other modalities, or no such dataset.
        """
        import xarray as xr

        if isinstance(source, str | os.PathLike):
            with xr.open_dataset(source, engine="h5netcdf") as opened:
                source = opened.load()
        confidence = source.get("confidence")
        if confidence is None or set(confidence.dims) != {"modality", "example"}:
            raise SettingError(
                "confidences must have a variable 'confidence' over modality and example. Give "
                "what FusT.measured() answered, or a netCDF file of it."
            )
        names = [str(name) for name in confidence["modality"].values]
        if set(names) != set(modalities):
            raise SettingError(
                f"The confidences are of {', '.join(names)}, and the model has "
                f"{', '.join(modalities)}. Measure them with this model, or pass "
                "anatomy= with the same names."
            )
        ordered = confidence.sortby("example").sel(modality=list(modalities))
        found = cls(modalities)
        found.numbers = torch.tensor(ordered["example"].values, dtype=torch.int64)
        values = ordered.transpose("modality", "example").values
        found.mean = torch.tensor(values, dtype=torch.float64)
        found._squares = torch.zeros_like(found.mean)
        found._epochs = (~found.mean.isnan()).double()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors."""
        return {
            "numbers": self.numbers,
            "mean": self.mean,
            "squares": self._squares,
            "epochs": self._epochs,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.numbers, self.mean = state["numbers"], state["mean"]
        self._squares, self._epochs = state["squares"], state["epochs"]

    def _grow(self, numbers: Tensor) -> None:
        """Make room for examples that were never seen before."""
        everything = torch.cat([self.numbers, numbers]).unique()
        if len(everything) == len(self.numbers):
            return
        at = torch.searchsorted(everything, self.numbers)
        for name, empty in (("mean", float("nan")), ("_squares", 0.0), ("_epochs", 0.0)):
            wider = torch.full((len(self.modalities), len(everything)), empty, dtype=torch.float64)
            wider[:, at] = getattr(self, name)
            setattr(self, name, wider)
        self.numbers = everything

    def _merge(self, row: int, at: Tensor, values: Tensor) -> None:
        """Merge one more value per example (Welford)."""
        before = torch.where(self._epochs[row, at] == 0, values, self.mean[row, at])
        count = self._epochs[row, at] + 1
        mean = before + (values - before) / count
        self._squares[row, at] += (values - before) * (values - mean)
        self.mean[row, at], self._epochs[row, at] = mean, count


def digest(source: xr.Dataset | str | os.PathLike[str]) -> str:
    """Return a short text that tells confidences from others: the file's path, or a hash."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return hashlib.sha256(source.to_dataframe().to_csv().encode()).hexdigest()[:16]
