"""What a first batch tells about a model: its logits, its head, and how to read scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from imbalance_lens.anatomy.linear_fusion import find_linear_fusion
from imbalance_lens.anatomy.outputs import LogitsOf, checked_logits
from imbalance_lens.anatomy.replay import Replay
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.anatomy.sites import Target, Wiring
from imbalance_lens.anatomy.staging import Edit
from imbalance_lens.batches import bind, device_of
from imbalance_lens.errors import NotAttachedError, SettingError
from imbalance_lens.hooks.wrappers import is_compiled

from ._base import Run, Want
from ._distributed import same_on_all_ranks_
from ._heads import UnimodalHeads
from ._rows import steps_first
from ._scores import Scorer, scorer_for


@dataclass(frozen=True)
class FirstLook:
    """What is known of a model once it has run on a batch.

    Attributes:
        logits_of: gets the logits out of its output.
        classes: how many logits there are per example.
        wiring: its modalities' sites.
        calls: how often each is called in a forward.
        scorer: reads the modalities' own logits; None where no recipe wants scores.
        steps_first: modalities whose features are (steps, batch, width).
    """

    logits_of: Callable[[Any], Tensor]
    classes: int
    wiring: Wiring
    calls: Mapping[Target, int]
    scorer: Scorer | None
    steps_first: frozenset[str]

    @property
    def readout(self) -> str:
        """How scores are read; "" where they are not."""
        return "" if self.scorer is None else self.scorer.kind

    def by_example(self, edit: Edit) -> Edit:
        """Return an edit that hands (batch, ...) to the given one, whatever the features are."""

        def edited(modality: str, features: Tensor) -> Tensor:
            if modality not in self.steps_first or features.ndim != 3:
                return edit(modality, features)
            return edit(modality, features.transpose(0, 1)).transpose(0, 1)

        return edited


def refuse_compiled(model: nn.Module) -> None:
    """Complain about a compiled model.

    Raises:
        NotAttachedError: it is one.
    """
    if is_compiled(model):
        raise NotAttachedError(
            "The model is compiled, and what is attached now would never be called. Give the model "
            "from before torch.compile; recipes.apply(..., compile=True) compiles its encoders."
        )


def first_look(
    run: Run,
    wants: Collection[Want],
    inputs: Any,
    *,
    heads: Mapping[str, nn.Module] | None,
    readout: str,
    logits: LogitsOf | None,
) -> FirstLook:
    """Run the model on a batch, frozen; give `run` its heads and what is known of its fusion.

    Args:
        run: of the training.
        wants: what its recipes want.
        inputs: of a batch.
        heads: the user's own unimodal heads.
        readout: one of `READOUTS`.
        logits: the user's way to the logits.

    Raises:
        AnatomyError: the anatomy does not fit the model.
        SettingError: heads or readout do not.
    """
    device = device_of(run.model)
    scorer = None
    given = None if logits is None else checked_logits(logits)
    with Replayer(run.model, run.anatomy, logits_of=given) as replayer:
        replay = replayer.capture(bind(run.model, inputs).to(device))
        classes = replay.logits_all.shape[1]
        first = steps_first(replay)
        run.fusion = find_linear_fusion(replay, run.model)
        if heads is not None:
            run.heads = UnimodalHeads.given(heads, run.modalities).to(device)
        elif Want.HEADS in wants or readout == "heads":
            _check_features(replay, first)
            run.heads = UnimodalHeads.linear(replay.features, classes).to(device)
        if run.heads is not None:
            same_on_all_ranks_(run.heads.state_dict().values())
        if {Want.SCORES, Want.SCORES_BEFORE_FUSION} & set(wants):
            if Want.HEAD_SCORES in wants and readout == "auto":
                readout = "heads"
            scorer = scorer_for(readout, replay, replayer, run.fusion, run.heads)
    calls = {target: len(made) for target, made in replay.recorded.calls.items()}
    return FirstLook(replay.logits_of, classes, replayer.wiring, calls, scorer, first)


def _check_features(replay: Replay, steps_first: Collection[str]) -> None:
    batch = replay.examples
    for name, tensor in replay.features.items():
        if len(tensor) != batch or name in steps_first:
            raise SettingError(
                f"The features of {name!r} are {tuple(tensor.shape)} for {batch} examples, so "
                "which belong to which example is not known, and no head can be made for them. "
                "Pass heads={modality: module}, from such features to logits (batch, classes), or "
                "anatomy= with encoders that give (batch, ...)."
            )
