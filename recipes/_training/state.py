"""Everything of a running training that a resumed one needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .._base import Run
from .._distributed import from_all_ranks, rank
from .._treatment import Treatment
from .plan import Plan

_MODEL, _HEADS = "model.", "heads."


class TrainingState:
    """Collects and gives back weights and state.

    Args:
        treatment: the recipes at work.
        plan: how the training goes.
    """

    def __init__(self, treatment: Treatment, plan: Plan) -> None:
        self._treatment = treatment
        self._plan = plan

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and buffers of the model and of the heads."""
        run = self._treatment.run
        found = {f"{_MODEL}{name}": t for name, t in run.model.state_dict().items()}
        if run.heads is not None:
            found |= {f"{_HEADS}{name}": t for name, t in run.heads.state_dict().items()}
        return found

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Give weights back."""
        run = self._treatment.run
        run.model.load_state_dict(_under(_MODEL, weights))
        if run.heads is not None:
            run.heads.load_state_dict(_under(_HEADS, weights))

    def state(self, books: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything but the weights; every rank has to call this.

        Args:
            books: of this rank.
        """
        scheduler = self._plan.scheduler
        return {
            "treatment": self._treatment.state_dict(),
            "history": self._treatment.history.state_dict(),
            "optimizer": self._plan.optimizer.state_dict(),
            "scaler": self._plan.scaler.state_dict(),
            "scheduler": None if scheduler is None else scheduler.state_dict(),
            "loss": _own_state(self._treatment.run),
            "books": from_all_ranks(dict(books)),
        }

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
        """Take everything over, and return the books of this rank."""
        self.load_weights(weights)
        self._treatment.load_state_dict(state["treatment"])
        self._treatment.history.load_state_dict(state["history"])
        self._plan.optimizer.load_state_dict(state["optimizer"])
        self._plan.scaler.load_state_dict(state["scaler"])
        if self._plan.scheduler is not None:
            self._plan.scheduler.load_state_dict(state["scheduler"])
        if isinstance(loss := self._treatment.run.loss, nn.Module):
            loss.load_state_dict(state.get("loss", {}), strict=False)
        return state["books"][rank()]


def _own_state(run: Run) -> dict[str, Tensor]:
    """Return what a loss that is a module may change: it may be trained too, or count."""
    if not isinstance(run.loss, nn.Module):
        return {}
    of_model = {id(t) for t in run.model.state_dict(keep_vars=True).values()}
    return {
        name: held
        for name, held in run.loss.state_dict(keep_vars=True).items()
        if isinstance(held, Tensor) and id(held) not in of_model
        if held.requires_grad or not isinstance(held, nn.Parameter)
    }


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
