"""Logits of each modality alone: from heads of its own, a linear split, or zeroed features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from .. import checks
from ..errors import BatchError, SettingError
from ..formulas import additivity_gap
from .replay import Replay

Heads = Mapping[str, Callable[[Tensor], Tensor]]
"""Modality -> head of its own, from features (batch, ...) to logits (batch, classes)."""

ADDITIVE = 1e-3
"""Relative interaction below which a head counts as additive; exact ones show about 1e-7."""

CONSTANT = 1e-6
"""Spread over examples, relative to the joint logits', below which a score says nothing."""


@dataclass(frozen=True)
class Readout:
    """How the logits of each modality alone are read, and what that rests on.

    - `"heads"`: the given unimodal heads on the encoders' outputs.
    - `"linear_split"`: the head adds up, so each modality's part of the logits is exact,
      `z_m = v({m}) - v({}) + v({}) / M`; the parts sum to the joint logits (OGM-GE, Wei et al.,
      TPAMI 2024, eq. 2, with the bias shared equally).
    - `"zero_out"`: the logits with all other modalities' features set to zero, `z_m = v({m})`
      (ibid., section 4.3.7).

    Attributes:
        kind: one of the three.
        additivity_gap: relative interaction of the head, |v(N)-v({})-sum(v(m)-v({}))| /
            |v(N)-v({})|; 0 for a head that adds up. NaN where heads were given.
        identifiable: modality -> False where its logits alone are the same for every example
            although the joint ones change without it: zero features are not "absent" for this
            head (gated, FiLM, bilinear), and no score can be read from them.
    """

    kind: str
    additivity_gap: float
    identifiable: Mapping[str, bool]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def choose_readout(replay: Replay, heads: Heads | None = None) -> Readout:
    """Decide from one batch how unimodal logits are read; costs M + 1 passes of the head.

    Args:
        replay: two or more examples, else every modality counts as identifiable.
        heads: unimodal heads; they win.

    Raises:
        SettingError: heads for other modalities than the model's.
    """
    if heads is not None:
        checks.same_modalities("heads", heads, replay.modalities)
        for modality, head in heads.items():
            if not callable(head):
                raise SettingError(
                    f"The head of {modality!r} is a {type(head).__name__}. Give a module or a "
                    "function, from features to logits."
                )
        return Readout("heads", float("nan"), dict.fromkeys(replay.modalities, True))
    none = replay.logits(())
    alone = {modality: replay.logits({modality}) for modality in replay.modalities}
    gap = float(additivity_gap(replay.logits_all, none, alone))
    if gap <= ADDITIVE:
        return Readout("linear_split", gap, dict.fromkeys(replay.modalities, True))
    if replay.examples < 2:
        return Readout("zero_out", gap, dict.fromkeys(replay.modalities, True))
    identifiable = {modality: _identifiable(replay, modality) for modality in replay.modalities}
    return Readout("zero_out", gap, identifiable)


def read_logits(readout: Readout, replay: Replay, heads: Heads | None = None) -> dict[str, Tensor]:
    """Return each modality's own logits, (batch, classes).

    Raises:
        BatchError: a head does not take its features, or gives another shape than the joint
            logits have.
    """
    if readout.kind == "heads" and heads is not None:
        return _from_heads(heads, replay)
    alone = {modality: replay.logits({modality}) for modality in replay.modalities}
    if readout.kind == "zero_out":
        return alone
    none = replay.logits(())
    rest = none * (1 - 1 / len(alone))
    return {modality: logits - rest for modality, logits in alone.items()}


def _from_heads(heads: Heads, replay: Replay) -> dict[str, Tensor]:
    features, given = replay.features, {}
    for modality in replay.modalities:
        try:
            given[modality] = heads[modality](features[modality])
        except RuntimeError as error:
            raise BatchError(
                f"The head of {modality!r} does not take its features ({error}). "
                f"{_what_it_was_given(modality, replay)}"
            ) from error
        if given[modality].shape != replay.logits_all.shape:
            raise BatchError(
                f"The head of {modality!r} gives {tuple(given[modality].shape)}; the model's "
                f"logits are {tuple(replay.logits_all.shape)}. "
                f"{_what_it_was_given(modality, replay)}"
            )
    return given


def _what_it_was_given(modality: str, replay: Replay) -> str:
    first, *others = (str(tuple(part.shape)) for part in replay.signals[modality])
    if not others:
        return f"It was given {first}."
    chosen = {modality: f"{replay.sites[modality][0]}[1]"}
    return (
        f"It was given {first}, the first tensor of the encoder's output, and not "
        f"{', '.join(others)}. Name the part that holds the features, as in encoders={chosen}."
    )


def _identifiable(replay: Replay, modality: str) -> bool:
    joint = _spread(replay.logits_all)
    constant = bool(_spread(replay.logits({modality})) <= CONSTANT * joint)
    others = [name for name in replay.modalities if name != modality]
    change = (replay.logits_all - replay.logits(others)).double().square().mean().sqrt()
    return not constant or bool(change <= CONSTANT * joint)


def _spread(logits: Tensor) -> Tensor:
    wide = logits.double()
    return (wide - wide.mean(0)).square().mean().sqrt()
