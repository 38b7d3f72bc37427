"""Greedy: who learns through the others instead of by itself is cut off from them for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import checks
from imbalance_lens.errors import NotApplicableError

from ._base import Card, Recipe, Run, Seen
from ._gate_means import GateMeans, Transfer, transfers_of
from ._history import Quantity

CARD = Card(
    title="Greedy, balanced multi-modal learning",
    paper="Wu et al., Characterizing and Overcoming the Greedy Nature of Learning in Multi-modal "
    "Deep Neural Networks, ICML 2022",
    equations="learning speed mu = |g|^2 / |theta|^2, conditional learning speed s_m = log10 "
    "(sum of mu of the gates of m / sum of mu of the network of m), and re-balancing steps, as in "
    "the authors' code",
    events=("on_fit_start", "on_gradients", "on_step_end", "on_fit_end"),
    touches=("features",),
    needs="Mmtm modules (imbalance_lens.models.Mmtm) between the layers of the modalities' "
    "networks, as in MmtmNet; networks with parameters of their own",
    defaults="alpha=0.01, window=5 and one epoch of warm-up are those of the authors' code for "
    "ModelNet40",
    deviations=(
        "the loss stays that of the model's answer, the mean of the branches' logits; the authors' "
        "code adds up the losses of the branches, for which the page has an example",
        "what is held at its mean in a re-balancing step is a modality's gates, as in the "
        "authors' code, so the modality hears neither the others nor itself through them",
        "the means are those of each modality's own gates, over the examples of the training "
        "steps before; in the authors' code those of the second modality are taken from the gates "
        "of the first, and passes for validation and test count too",
        "for more than two modalities the largest speed is compared with the smallest, and the "
        "modality with the largest is re-balanced",
        "gates are 0 to 2 and the joint signal has a quarter of all channels, as Joze et al. "
        "(CVPR 2020) have it; in the authors' code they are 0 to 1 and a half",
    ),
)

SPEED = Quantity(
    "conditional_speed",
    "1",
    "log10 of how fast the modality's gates learn to how fast its own network does",
    "recipes.greedy.conditional_speed",
)
REBALANCED = Quantity(
    "rebalanced",
    "1",
    "1 where the modality's gates were held in this step, else 0",
    "recipes.greedy.to_rebalance",
)


@torch.no_grad()
def learning_speed(parameters: Iterable[Tensor]) -> Tensor:
    """Return how large the gradients are, measured by the parameters.

    Equation: mu = sum |g|^2 / sum |theta|^2 (Wu et al., ICML 2022).

    Args:
        parameters: of one part of a model; one without gradient counts as if it was 0.

    Returns:
        A dimensionless scalar, float64, 0 or more.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> weight.grad = torch.tensor([1.0, 2.0])
        >>> learning_speed([weight])
        tensor(0.2000, dtype=torch.float64)
    """
    held = list(parameters)
    gradients = [parameter.grad for parameter in held if parameter.grad is not None]
    size = _square(held)
    return _square(gradients).to(size) / size if gradients else torch.zeros_like(size)


def conditional_speed(gates: Tensor, network: Tensor) -> Tensor:
    """Return how fast modalities learn through the others, compared with by themselves.

    Equation: s = log10(sum_t mu(gates; t) / sum_t mu(network; t)) (Wu et al., ICML 2022).

    Args:
        gates: (modalities,) learning speeds of the gates, summed over steps.
        network: (modalities,) those of their own networks.

    Returns:
        (modalities,) dimensionless; 0 where both learn equally fast.

    Example:
        >>> conditional_speed(torch.tensor([1.0, 10.0]), torch.tensor([10.0, 1.0]))
        tensor([-1.,  1.])
    """
    return (gates / network).log10()


def to_rebalance(speeds: Tensor, alpha: float) -> Tensor:
    """Say which modality is to be cut off from the others.

    Equation: the one with the largest s, if max s - min s > alpha (Wu et al., ICML 2022, for two
    modalities).

    Args:
        speeds: (modalities,) from `conditional_speed`.
        alpha: how far apart they may be, 0 or more.

    Returns:
        (modalities,) bool, True for one at most.

    Example:
        >>> to_rebalance(torch.tensor([-1.0, 1.0]), alpha=0.5)
        tensor([False,  True])
        >>> to_rebalance(torch.tensor([-1.0, 1.0]), alpha=2.5)
        tensor([False, False])
    """
    apart = speeds.amax() - speeds.amin() > alpha
    places = torch.arange(len(speeds), device=speeds.device)
    return apart & (places == speeds.argmax())


@dataclass(eq=False, kw_only=True)
class Greedy(Recipe):
    """Cuts off, for some steps, the modality that learns most through the others.

    Args:
        alpha: how far apart the conditional learning speeds may be; infinity changes nothing.
        window: for how many steps a modality is cut off.
        warmup: epochs at the start in which speeds are only measured.

    Raises:
        SettingError: a value that is not allowed.
        NotApplicableError: when the training starts, a model without gates between its modalities.
    """

    alpha: float = 0.01
    window: int = 5
    warmup: int = 1

    card = CARD
    regresses = True
    multilabel = True
    _transfers: list[Transfer] = field(default_factory=list, init=False, repr=False)
    _gates: GateMeans | None = field(default=None, init=False, repr=False)
    _state: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _next: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _attached: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        checks.whole("window", self.window)
        checks.whole("warmup", self.warmup, 0)

    def on_fit_start(self, run: Run) -> None:
        """Find the gates and follow them; forget another training."""
        self._transfers = transfers_of(run.model)
        self._look_for_gates(run)
        gates = GateMeans(self._transfers, run.modalities, lambda: self.acts_in(run.epoch))
        sums = gates.totals.new_zeros(2, len(run.modalities))
        self._state = {"sums": sums, "left": sums.new_zeros((), dtype=torch.int64)}
        self._next, self._gates = {}, gates
        self._attached.enter_context(gates.attached())

    def on_gradients(self, run: Run, seen: Seen) -> None:  # noqa: ARG002
        """Measure how fast gates and networks learn, and decide on the steps that follow."""
        gates, state = self._following(), self._state
        found = torch.stack([self._speeds(run, name).to(state["sums"]) for name in run.modalities])
        regular = state["left"] == 0
        sums = torch.where(regular, state["sums"] + found.T, state["sums"])
        speeds = conditional_speed(*sums)
        run.record(SPEED, dict(zip(run.modalities, speeds, strict=True)))
        run.record(REBALANCED, dict(zip(run.modalities, gates.held, strict=True)))
        left = (state["left"] - 1).clamp_min(0)
        held = gates.held & (left > 0)
        if run.epoch - self.start_epoch >= self.warmup:
            chosen = to_rebalance(speeds, self.alpha) & regular
            held = torch.where(regular, chosen, held)
            left = torch.where(chosen.any(), self.window, left)
        self._next = {"sums": sums, "left": left, "totals": gates.taken(), "held": held}

    def on_step_end(self, run: Run) -> None:
        """Take in a step that was made."""
        if self._next:
            before = self._state | dict(self._following().state_dict())
            self._take({n: run.unless_skipped(new, before[n]) for n, new in self._next.items()})

    def on_fit_end(self, run: Run) -> None:  # noqa: ARG002
        """Let go of the gates."""
        self._attached.close()

    def state_dict(self) -> dict[str, Any]:
        """Return what is known of speeds and gates, and how long a modality stays cut off."""
        return self._state | ({} if self._gates is None else dict(self._gates.state_dict()))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._take({n: value.to(self._following().totals.device) for n, value in state.items()})

    def _take(self, state: Mapping[str, Tensor]) -> None:
        self._following().load_state_dict(state)
        self._state, self._next = {name: state[name] for name in ("sums", "left")}, {}

    def _following(self) -> GateMeans:
        if self._gates is None:
            raise RuntimeError("no training has started, so no gates are followed")
        return self._gates

    def _speeds(self, run: Run, modality: str) -> Tensor:
        own, through = self._own(run, modality), self._of_gates(modality)
        return torch.stack([learning_speed(through), learning_speed(own)])

    def _own(self, run: Run, modality: str) -> list[Tensor]:
        gating = {p for transfer in self._transfers for p in transfer.parameters()}
        return [parameter for parameter in run.parameters(modality) if parameter not in gating]

    def _of_gates(self, modality: str) -> list[Tensor]:
        having = [transfer for transfer in self._transfers if modality in transfer.sizes]
        held = [
            p for t in having for part in (t.joint, t.gates[modality]) for p in part.parameters()
        ]
        return [parameter for parameter in held if parameter.requires_grad]

    def _look_for_gates(self, run: Run) -> None:
        if not self._transfers:
            raise NotApplicableError(
                f"{self.name!r} acts on the gates through which modalities hear each other, and "
                "this model has no Mmtm. Put imbalance_lens.models.Mmtm between the layers of the "
                "modalities' networks, as MmtmNet does; for encoders that meet in one fusion, "
                "take 'ogm_ge', 'opm' or 'agm'."
            )
        for transfer in self._transfers:
            checks.no_strangers("An Mmtm of the model", transfer.sizes, run.modalities)
        for name in run.modalities:
            if not (self._of_gates(name) and self._own(run, name)):
                part = "gates of its own" if self._own(run, name) else "network of its own"
                raise NotApplicableError(
                    f"{self.name!r} compares how fast each modality's gates learn with how fast "
                    f"its network does, and {name!r} has no {part} that is trained. Unfreeze it, "
                    "give the modality a gate in an Mmtm, or name its modules in "
                    f"Anatomy(..., parts={{{name!r}: ('path.to.module', ...)}})."
                )


def _square(tensors: list[Tensor]) -> Tensor:
    """Return the sum of the squares of all entries, where the first tensor is."""
    dense = [t.coalesce().values() if t.is_sparse else t.detach() for t in tensors]
    wide = reduce(torch.promote_types, (t.dtype for t in dense), torch.float32)
    norms = torch._foreach_norm(dense, 2, wide)  # pyright: ignore[reportPrivateImportUsage]
    known = [_whole(norm).to(dense[0].device, torch.float64) for norm in norms]
    return torch.stack(known).square().sum()


def _whole(norm: Any) -> Tensor:
    """Return the norm of a tensor that may be spread over ranks (DTensor, as FSDP2 makes them)."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


RECIPE = Greedy
