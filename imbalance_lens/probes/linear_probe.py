"""What can be read from each encoder's features, whatever the head makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from .. import checks, schema
from ..errors import NotApplicableError
from ..observation import Need, Observation
from ._head_scores import CORRECT, class_accuracies, of_heads
from ._linear import NOTHING, Predicted, folds_of, predict
from ._pooling import pooled
from ._resampled import Resampled
from ._sample import Sample
from ._scores import scored

if TYPE_CHECKING:
    import xarray as xr


@dataclass(eq=False)
class LinearProbe(Resampled):
    """Fits a linear classifier to the frozen features of each modality, and of all together.

    An encoder whose features a fresh classifier reads far better than the model's own head does
    is not used to the full; one from which little can be read was not trained enough, compared
    with the same encoder trained alone (Peng et al., CVPR 2022, Fig. 1; Wei et al., TPAMI 2024,
    Fig. 1). The classifier is scikit-learn's logistic regression on features that are averaged
    over everything but channels and standardized.

    It is fitted on the examples of `diagnose(..., train=...)` and tested on those of the loader;
    without `train` it is cross-validated on the loader's. Examples that the encoders were trained
    on make both look better than they are.

    Cost: no pass besides the one over the data, and one over `train`. Then M + 1 fits, once or
    for each fold: for two modalities of 512 channels and five folds 0.6 s with 2,000 examples, 5 s
    with 10,000 (one core). Memory: 4 bytes per channel for each of `max_examples`, a quarter more
    on the way.

    Args:
        C: inverse strength of the penalty on the squared weights, as in scikit-learn.
        max_iter: steps of the solver at most; `converged` says whether they were enough.
        folds: of the cross-validation.
        max_examples: more than that are not used, neither for fitting nor for testing; a sample
            is drawn by `seed`.
        channel_dims: modality -> dimension of its features (batch, ...) that holds the channels.
            Default: the second of four or more, the last of three, so audio features
            (batch, channels, time) need `{"audio": 1}`.
        resamples: number of bootstrap resamples behind the intervals.
        confidence_level: of the intervals.
        seed: of the sample, the folds and the resamples.

    Raises:
        SettingError: a number is not above 0, `folds` below 2, or `confidence_level` not between
            0 and 1.

    Example:
        >>> labels = torch.arange(40) % 2
        >>> audio = torch.stack([labels, 1 - labels], 1).float()
        >>> seen = Observation(
        ...     labels=labels,
        ...     logits=audio,
        ...     modalities=("audio", "visual"),
        ...     features={"audio": audio, "visual": torch.zeros(40, 3)},
        ...     modality_logits={"audio": -audio, "visual": torch.zeros(40, 2)},
        ... )
        >>> probe = LinearProbe()
        >>> probe.observe(seen)
        >>> probe.result()["accuracy"].sel(head="audio").item()
        1.0
    """

    needs = (Need.LABELS, Need.FEATURES, Need.MODALITY_LOGITS)
    looks_at_training = True
    needs_of_training = (Need.LABELS, Need.FEATURES)
    C: float = 1.0
    max_iter: int = 1000
    folds: int = 5
    max_examples: int = 10_000
    channel_dims: Mapping[str, int] = field(default_factory=dict)
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _classes: int = field(default=0, init=False, repr=False)
    _widths: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _held_out: Sample = field(init=False, repr=False)
    _training: Sample = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("C", self.C)
        for name in ("max_iter", "max_examples"):
            checks.whole(name, getattr(self, name))
        checks.whole("folds", self.folds, 2)
        checks.mapping("channel_dims", self.channel_dims)
        self._held_out = Sample(self.max_examples, self.seed)
        self._training = Sample(self.max_examples, self.seed)

    def observe(self, seen: Observation) -> None:
        """Keep the pooled features of one batch."""
        self._modalities, self._classes = seen.modalities, seen.logits.shape[1]
        checks.no_strangers("channel_dims", self.channel_dims, seen.modalities)
        columns = {_FEATURES + name: self._pooled(seen, name) for name in seen.modalities}
        columns["label"] = seen.labels.clone()
        if seen.training:
            self._training.append(**columns)
            return
        own = [seen.modality_logits[name] for name in seen.modalities]
        scores = [scored(logits, seen.labels) for logits in (*own, seen.logits)]
        confidence, correct = (torch.stack(each, 1) for each in zip(*scores, strict=True))
        self._held_out.append(**columns, own_correct=correct, own_unknown=confidence.isnan())

    def merge(self, other: Self) -> None:
        """Take in the examples of another copy."""
        self._modalities = self._modalities or other._modalities
        self._classes = self._classes or other._classes
        self._widths = self._widths or dict(other._widths)
        self._held_out.extend(other._held_out)
        self._training.extend(other._training)

    def result(self) -> xr.Dataset:
        """Return the scores over (head), where "joint" is all features together.

        Raises:
            NotAttachedError: nothing was observed yet.
            NotApplicableError: there is nothing to test on, or too little to fit on.
        """
        if not len(self._held_out) + len(self._training):
            raise self.nothing_seen()
        if not len(self._held_out):
            raise NotApplicableError("it has seen training examples only, and none to test on")
        test = _in_order(self._held_out.on_host())
        fit = _in_order(self._training.on_host()) if len(self._training) else None
        found = self._predictions(test, fit)
        right = np.stack([predicted.classes == test["label"] for predicted in found], 1)
        unread = np.stack([predicted.classes == NOTHING for predicted in found], 1)
        return schema.dataset(
            {
                **self._scores(right, test["own_correct"]),
                **class_accuracies(right, test["label"], self._classes),
                "fit_accuracy": of_heads(
                    [predicted.fit_accuracy for predicted in found],
                    "accuracy of the classifier on the examples that it was fitted on",
                    formula="sklearn.linear_model.LogisticRegression",
                ),
                "converged": of_heads(
                    [predicted.converged for predicted in found],
                    "whether the fits ended before max_iter",
                    formula="sklearn.linear_model.LogisticRegression",
                ),
                "channels": of_heads(
                    [*self._widths.values(), sum(self._widths.values())],
                    "channels of the pooled features",
                    formula="torch.mean",
                ),
                "nonfinite": of_heads(
                    (unread | test["own_unknown"]).sum(0),
                    "examples whose features or own logits are NaN or infinite",
                    units="example",
                    formula="numpy.isfinite",
                ),
            },
            {
                "head": self._heads,
                "label": np.arange(self._classes),
                "bound": ["low", "high"],
            },
            settings=self.settings(),
            protocol="cross_validation" if fit is None else "train",
            examples=len(test["label"]),
            fit_examples=len((test if fit is None else fit)["label"]),
            examples_shown=self._held_out.shown,
            fit_examples_shown=(self._held_out if fit is None else self._training).shown,
        )

    @property
    def _heads(self) -> list[str]:
        return [*self._modalities, schema.JOINT]

    def _pooled(self, seen: Observation, name: str) -> Tensor:
        channel_dim = self.channel_dims.get(name)
        features = pooled(seen.features[name], len(seen.logits), name, channel_dim)
        width = self._widths.setdefault(name, features.shape[1])
        if features.shape[1] != width:
            raise NotApplicableError(
                f"the features of {name!r} have {width} channels in one batch and "
                f"{features.shape[1]} in another, so the channels are in another dimension; name "
                f"it in LinearProbe(channel_dims={{{name!r}: ...}})"
            )
        return features

    def _predictions(self, test: Table, fit: Table | None) -> list[Predicted]:
        """Return what is predicted of the test examples, by head."""
        count = len(test["label"])
        rows = test
        if fit is not None:
            rows = {name: np.concatenate([test[name], fit[name]]) for name in fit}
        folds = folds_of(rows["label"], count, most=self.folds, seed=self.seed)
        features = {name: rows[_FEATURES + name] for name in self._modalities}
        everything = np.concatenate([features[name] for name in sorted(features)], 1)
        found = [
            predict(own, rows["label"], folds, inverse_penalty=self.C, max_iter=self.max_iter)
            for own in (*features.values(), everything)
        ]
        return [predicted._replace(classes=predicted.classes[:count]) for predicted in found]

    def _scores(self, right: np.ndarray, own_right: np.ndarray) -> dict[str, xr.Variable]:
        columns = np.stack([right, own_right], 1).astype(np.float64)
        accuracy, own = columns.mean(0)
        drawn, own_drawn = self.resample(columns, self._heads).swapaxes(0, 1)
        variables: dict[str, xr.Variable] = {}
        for name, values, draws, long_name in (
            ("accuracy", accuracy, drawn, "accuracy of a linear classifier on the features"),
            ("own_accuracy", own, own_drawn, "accuracy of the model's own logits"),
            (
                "gap",
                accuracy - own,
                drawn - own_drawn,
                "accuracy of a linear classifier on the features, minus that of the own logits",
            ),
        ):
            variables |= self.estimate(
                name, ("head",), values, draws, long_name=long_name, formula=CORRECT
            )
        return variables


Table = Mapping[str, np.ndarray]
_FEATURES = "features of "


def _in_order(table: Table) -> Table:
    """Sort the rows, so that folds and fits do not depend on the order of the loader."""
    names = sorted(name for name in table if name.startswith(_FEATURES))
    sums = [table[name].sum(1, dtype=np.float64) for name in names]
    order = np.lexsort((*sums, table["label"]))
    return {name: column[order] for name, column in table.items()}


PROBE = LinearProbe
