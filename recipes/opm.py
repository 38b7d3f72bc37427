"""OPM: in training, leave out features of modalities that are ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import checks
from imbalance_lens.errors import SettingError

from ._base import Card, Recipe, Run, Seen, Want
from ._dropping import drop
from ._history import Quantity
from ._ratios import quotient

__all__ = ["CARD", "DROP_PROBABILITY", "RECIPE", "Opm", "drop", "drop_probability", "dropped_share"]

CARD = Card(
    title="OPM, On-the-fly Prediction Modulation",
    paper="Wei et al., On-the-fly Modulation for Balanced Multimodal Learning, TPAMI 2024",
    equations="eq. 6 to 8, algorithm 1",
    events=("on_fit_start", "on_batch", "on_features", "on_gradients", "on_step_end"),
    touches=("features",),
    needs="class labels; a place between encoders and fusion; a score for each modality",
    defaults="q_base=0.5 and lam=0.5, as in the authors' scripts and the paper's Fig. 7",
    deviations=(
        "the drop probability comes from the scores of the same batch, as in the authors' code; "
        "the text has those of the step before: lag=1",
        "what is kept is not rescaled, as in the text; the authors' code divides the features of "
        "all modalities by 1 - theta, also of those that are never dropped, and only in training: "
        "scale='theta'. scale='inverted' (ours) divides each modality's by 1 - q.",
        "every batch is modulated, as in the text; the authors' code leaves some whole: p_exe=0.7",
        "the features are dropped, as in the text and its figures; algorithm 1 says input",
        "no gradient flows through the probability; in the authors' code one does, which adds a "
        "hidden loss theta^2 / 2 on the encoders",
        "the authors' code removes examples of which nothing is left; the weakest modality is "
        "never dropped, so there are none",
        "with gradient accumulation and lag=0 each micro-batch has probabilities of its own",
        "a score below 1e-12 counts as 1e-12",
    ),
)

SCALES, LAGS = ("none", "theta", "inverted"), (0, 1)
DROP_PROBABILITY = Quantity(
    "drop_probability",
    "1",
    "probability with which the modality's features are left out, mean over micro-batches",
    "recipes.opm.drop_probability",
)


def drop_probability(ratios: Mapping[str, Tensor], q_base: float, lam: float) -> dict[str, Tensor]:
    """Return with which probability the features of each modality are dropped.

    Equation: q = min(1, q_base (1 + lambda tanh(rho - 1))) where rho > 1, else 0 (Wei et al.,
    TPAMI 2024, eq. 8).

    Args:
        ratios: modality -> discrepancy ratio, a scalar.
        q_base: the probability for a modality that is hardly ahead, 0 to 1.
        lam: by how much of it that grows with the lead, 0 or more.

    Returns:
        One scalar per modality, 0 or between q_base and q_base (1 + lam); NaN where the ratio is.

    Example:
        >>> drop_probability({"audio": torch.tensor(1.5), "visual": torch.tensor(0.67)}, 0.5, 0.5)
        {'audio': tensor(0.6155), 'visual': tensor(0.)}
    """
    return {
        name: torch.where(
            ratio <= 1,
            torch.zeros_like(ratio),
            (q_base * (1 + lam * (ratio - 1).tanh())).clamp(0, 1),
        )
        for name, ratio in ratios.items()
    }


def dropped_share(probabilities: Mapping[str, Tensor], widths: Mapping[str, int]) -> Tensor:
    """Return which share of all features is dropped, on average.

    Equation: theta = sum_m D_m q_m / sum_m D_m, with the widths D; from the authors' code, the
    paper has no such scale.

    Args:
        probabilities: modality -> drop probability, a scalar.
        widths: modality -> number of features of an example.

    Example:
        >>> q = {"audio": torch.tensor(0.6), "visual": torch.tensor(0.0)}
        >>> dropped_share(q, {"audio": 512, "visual": 512})
        tensor(0.3000)
    """
    parts = [widths[name] * probability for name, probability in probabilities.items()]
    return torch.stack(parts).sum(0) / sum(widths.values())


@dataclass(eq=False, kw_only=True)
class Opm(Recipe):
    """Leaves out features of modalities that are ahead, for examples drawn anew in each pass.

    Args:
        q_base: drop probability of a modality that is hardly ahead; 0 drops nothing.
        lam: by how much of it that grows with the lead.
        scale: "none", "theta" or "inverted", see the card.
        p_exe: with which probability a batch is modulated at all.
        lag: 0 for the scores of the same batch, 1 for those of the step before.

    Raises:
        SettingError: a value that is not allowed.
    """

    q_base: float = 0.5
    lam: float = 0.5
    scale: str = "none"
    p_exe: float = 1.0
    lag: int = 0

    card = CARD
    _batch: int = field(default=0, init=False, repr=False)
    _pass: int | None = field(default=None, init=False, repr=False)
    _effective: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _masks: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _used: list[dict[str, Tensor]] = field(default_factory=list, init=False, repr=False)
    _ratios: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _measured: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("q_base", "p_exe"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} must lie from 0 to 1; got {getattr(self, name)!r}.")
        checks.at_least("lam", self.lam, 0)
        checks.one_of("scale", self.scale, SCALES)
        checks.one_of("lag", self.lag, LAGS)

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        wanted = {Want.SCORES} if self.lag else {Want.SCORES_BEFORE_FUSION}
        return wanted | ({Want.SCORES_BEFORE_FUSION} if self.scale == "theta" else set())

    def on_fit_start(self, run: Run) -> None:  # noqa: ARG002
        """Forget another training."""
        self._pass, self._used, self._ratios = None, [], {}

    def on_batch(self, run: Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:  # noqa: ARG002
        """Note how many examples there are."""
        self._batch = len(labels)
        return inputs, labels

    def on_features(self, run: Run, modality: str, features: Tensor) -> Tensor:
        """Return the features, without those of the examples that are dropped."""
        # Nothing is drawn either: the random numbers of a training that drops nothing stay its own.
        if self.q_base == 0 or self.p_exe == 0 or not features.is_floating_point():
            return features
        if self._pass != run.micro_step:
            self._begin(run, features.device)
        if not self._effective:
            return features
        probability = self._effective[modality].to(features.device)
        if modality not in self._masks:
            chance = torch.rand(self._batch, device=features.device)
            self._masks[modality] = chance < probability
        kept = drop(features, self._masks[modality])
        if self.scale == "inverted":
            return kept / (1 - probability).clamp_min(torch.finfo(probability.dtype).eps)
        if self.scale == "theta":
            widths = {name: given.numel() // self._batch for name, given in run.features.items()}
            return kept / (1 - dropped_share(self._effective, widths)).to(kept.device)
        return kept

    def on_gradients(self, run: Run, seen: Seen) -> None:
        """Note the ratios of the step, and record with which probabilities it dropped."""
        if self.lag:
            self._measured = quotient(seen.scores)
        used, self._used = self._used, []
        if used:
            means = {name: torch.stack([q[name] for q in used]).mean(0) for name in used[0]}
            run.record(DROP_PROBABILITY, means)

    def on_step_end(self, run: Run) -> None:
        """Take over the ratios of a step that was made."""
        if not self.lag:
            return
        before = self._ratios or {name: torch.ones_like(r) for name, r in self._measured.items()}
        self._ratios = {
            name: run.unless_skipped(ratio, before[name]) for name, ratio in self._measured.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the ratios of the last step, where they count."""
        return {"ratios": dict(self._ratios)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._ratios = dict(state["ratios"])

    def _begin(self, run: Run, device: torch.device) -> None:
        """Draw whether this pass is modulated, and forget the masks of the one before."""
        self._pass = run.micro_step
        self._masks = {}
        ratios = self._ratios if self.lag else quotient(run.scores)
        self._effective = drop_probability(ratios, self.q_base, self.lam)
        if not self._effective:  # the first step of lag=1
            return
        self._used.append(self._effective)
        if self.p_exe < 1:
            acts = torch.rand((), device=device) < self.p_exe
            self._effective = {
                name: torch.where(acts.to(q.device), q, torch.zeros_like(q))
                for name, q in self._effective.items()
            }


RECIPE = Opm
