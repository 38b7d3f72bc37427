"""What the gates of a model let through on average, and gates that are held at that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from imbalance_lens.hooks.answers import last_word
from imbalance_lens.hooks.checkpointing import runs_checkpointed

from ._distributed import sum_over_ranks


class Transfer(Protocol):
    """A module through whose gates modalities hear each other, as `imbalance_lens.models.Mmtm`.

    Known by what it has, so that a module of one's own will do.

    Attributes:
        sizes: modality -> number of its channels.
        joint: makes the signal of all modalities.
        gates: modality -> the module that gives its gates (batch, channels).
    """

    sizes: Mapping[str, int]
    joint: nn.Module
    gates: nn.ModuleDict

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all of its parameters."""
        ...


def transfers_of(model: nn.Module) -> list[Transfer]:
    """Return the modules of a model that are a `Transfer`.

    Not by `isinstance`, which from Python 3.12 on looks past the submodules of a module.
    """
    return [cast("Transfer", module) for module in model.modules() if _is_transfer(module)]


def _is_transfer(module: nn.Module) -> bool:
    sizes, joint, gates = (getattr(module, name, None) for name in ("sizes", "joint", "gates"))
    return (
        isinstance(sizes, Mapping)
        and isinstance(joint, nn.Module)
        and isinstance(gates, nn.ModuleDict)
    )


class GateMeans:
    """Follows the gates of a model in training, and can hold those of a modality at their mean.

    A held gate is a constant: nothing of the example, and no gradient, passes through it.

    Args:
        transfers: the modules whose gates are meant.
        modalities: names, in the order of `held`.
        active: says whether the training is to be followed now; else gates are as they are.

    Attributes:
        totals: (entries,) for each gate the sums over the examples so far, and their number.
        held: (modalities,) bool, whose gates are held.
    """

    def __init__(
        self, transfers: Sequence[Transfer], modalities: Sequence[str], active: Callable[[], bool]
    ) -> None:
        of_modality = {name: place for place, name in enumerate(modalities)}
        self._gates: list[tuple[nn.Module, int]] = []
        self._sizes: list[int] = []
        for transfer in transfers:
            for name, size in transfer.sizes.items():
                self._gates.append((transfer.gates[name], of_modality[name]))
                self._sizes.append(size + 1)
        self._active = active
        device = next(transfers[0].parameters()).device
        self.totals = torch.zeros(sum(self._sizes), dtype=torch.float64, device=device)
        self.held = torch.zeros(len(of_modality), dtype=torch.bool, device=device)
        self._fresh: dict[int, Tensor] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Follow the gates inside the block."""
        with ExitStack() as stack:
            for number, (gate, _) in enumerate(self._gates):
                stack.enter_context(last_word(gate, partial(self._answer, number)))
            yield

    def taken(self) -> Tensor:
        """Return the totals with what was seen since the last call, on all ranks."""
        rows = self.totals.split(self._sizes)
        fresh = [self._fresh.get(n, torch.zeros_like(row)) for n, row in enumerate(rows)]
        self._fresh = {}
        return self.totals + sum_over_ranks(torch.cat([row.to(self.totals) for row in fresh]))

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return what is known of the gates."""
        return {"totals": self.totals, "held": self.held}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave, from whatever device."""
        self.totals = state["totals"].to(self.totals)
        self.held = state["held"].to(self.held)

    def _answer(self, number: int, gates: Tensor) -> Tensor | None:
        gate, place = self._gates[number]
        if not (gate.training and self._active()):
            return None
        # A reentrant checkpoint trains without gradients at first; then it runs again with them.
        if not (torch.is_grad_enabled() or runs_checkpointed()):
            return None
        values = gates.detach().double()
        row = torch.cat([values.sum(0), values.new_full((1,), len(values))])
        self._fresh[number] = self._fresh[number] + row if number in self._fresh else row
        *sums, examples = self.totals.split(self._sizes)[number].split([values.shape[1], 1])
        mean = (sums[0] / examples).to(gates)
        return torch.where(self.held[place].to(gates.device), mean, gates)
