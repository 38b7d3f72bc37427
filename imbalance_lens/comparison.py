"""Two or more states of one model, compared on fixed training and held-out examples."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .anatomy import Anatomy
from .anatomy.outputs import LogitsOf, checked_logits
from .anatomy.readout import Heads
from .anatomy.replayer import Replayer
from .batches import Split
from .checkpoints import load_into
from .errors import CheckpointError, NotApplicableError, SettingError
from .hooks.frozen import frozen
from .hooks.wrappers import unwrap
from .loaders import loader_kept, pairs
from .observer import Observer, ProbeChoice, chosen_probes
from .passes import show, who_is_who

if TYPE_CHECKING:
    import xarray as xr

State = str | os.PathLike[str] | Mapping[str, Tensor] | nn.Module
"""A checkpoint file, a state_dict, or a model of the same make."""

_COMPARING = {"ogr", "gradient_ogr"}
"""Probes that keep states apart; any other would pool what it hears of all of them."""


def compare_checkpoints(
    model: nn.Module,
    states: Sequence[State],
    train: Iterable[Any],
    held_out: Iterable[Any],
    anatomy: Anatomy | Mapping[str, str] | None = None,
    *,
    probe: ProbeChoice = "ogr",
    heads: Heads | None = None,
    split: Split | None = None,
    logits: LogitsOf | None = None,
    trust: bool = False,
) -> xr.Dataset:
    """Measure what training gained between checkpoints, and how much it overfitted.

    Each state runs over both sets, frozen. The model has its own weights again afterwards, also
    after an error.

    Args:
        model: takes the weights of each state in turn.
        states: two or more, in the order of training: checkpoint files, state_dicts or models.
        train: a fixed part of the training examples, without augmentation; read once per state.
        held_out: fixed examples that the model is not trained on, likewise.
        anatomy: who is who, or {modality: path of its encoder}. Default: found.
        probe: what compares.
        heads: unimodal heads, the same for every state.
        split: gets (inputs, labels) out of batches of other kinds.
        logits: gets the logits out of the model's output where that is unclear.
        trust: open checkpoints that execute code when they are loaded.

    Returns:
        The answer of the probe, with the states on the dimension `epoch`, counted from 0.

    Raises:
        SettingError: fewer than two states, or a probe that does not compare states.
        CheckpointError: a state does not fit the model.
        BatchError: a set without a batch, or with batches that cannot be used.
        NotApplicableError: the probe cannot answer for this model or this data.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> early = {name: value * 0.5 for name, value in model.state_dict().items()}
        >>> found = compare_checkpoints(model, [early, model], loader, loader)
        >>> found["total_ogr"].values
        array([0., 0., 0.])
    """
    if isinstance(states, str | Mapping) or not isinstance(states, Sequence):
        raise SettingError(
            f"states is a {type(states).__name__}. Give a list of two or more states, each a "
            "checkpoint file, a state_dict or a model."
        )
    if len(states) < 2:
        raise SettingError(f"Two or more states are needed to compare; got {len(states)}.")
    inner = unwrap(model)
    compares = chosen_probes([probe])
    if not compares.keys() <= _COMPARING:
        raise SettingError(
            f"probe={probe!r} does not compare states on training and held-out examples. Use one "
            f"of {', '.join(map(repr, sorted(_COMPARING)))}, or diagnose each state."
        )
    logits_of = None if logits is None else checked_logits(logits)
    own = {name: value.detach().clone() for name, value in inner.state_dict().items()}
    with frozen(inner), loader_kept(train), loader_kept(held_out):
        who = who_is_who(inner, anatomy, next(pairs(held_out, split))[0] if anatomy is None else ())
        observer = Observer(inner, who, compares, heads)
        try:
            for epoch, state in enumerate(states):
                _take(inner, own if state in (model, inner) else state, trust=trust)
                with Replayer(inner, who, logits_of=logits_of) as replayer:
                    for training, loader in ((True, train), (False, held_out)):
                        kind = "training" if training else "held-out"
                        examples = pairs(loader, split, name=f"The loader of {kind} examples")
                        show(examples, replayer, observer, epoch=epoch, training=training)
        finally:
            _take(inner, own)
    for name, reason in observer.skipped.items():
        raise NotApplicableError(f"{name!r} has no answer: {reason}.")
    (compared,) = compares.values()
    return compared.result()


def _take(model: nn.Module, state: State, *, trust: bool = False) -> None:
    if isinstance(state, str | os.PathLike):
        load_into(model, state, trust=trust)
        return
    weights = unwrap(state).state_dict() if isinstance(state, nn.Module) else state
    if not isinstance(weights, Mapping):
        raise CheckpointError(
            f"A state is a {type(state).__name__}. Give a checkpoint file, a state_dict or a model."
        )
    try:
        with torch.no_grad():
            model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"A state does not fit {type(model).__name__}: {error}") from error
