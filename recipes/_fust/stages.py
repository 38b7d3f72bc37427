"""Two stages of one training: encoders alone, each for epochs of its own, then all together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from torch import nn

from imbalance_lens import checks
from imbalance_lens.errors import NoEffectWarning, NotIntendedUseWarning, SettingError

from .._base import Run
from .._distributed import same_on_all_ranks_
from .._standstill import Standstill, layers_of, owned_by_none


class Stages:
    """Says in which stage a training is, and lets stand still what is not trained in it.

    Args:
        epochs: of the first stage, for all encoders or for each; None: three quarters of all.

    Raises:
        SettingError: no whole numbers, or some without a first stage while others have one.

    Attributes:
        first: whether this epoch is one of the first stage.
        active: the modalities whose encoders are trained alone in this epoch.
        joined: whether the second stage has begun.
    """

    def __init__(self, epochs: int | Mapping[str, int] | None) -> None:
        given = epochs.values() if isinstance(epochs, Mapping) else [epochs or 1]
        for number in given:
            checks.whole("unimodal_epochs", number)
        self._given = epochs
        self._lengths: dict[str, int] = {}
        self._held = Standstill()
        self._epoch: int | None = None
        self.first = self.has_first
        self.active: tuple[str, ...] = ()
        self.joined = False

    @property
    def has_first(self) -> bool:
        """Whether there is a first stage at all."""
        return self._given != 0

    def begin(self, run: Run, *, measures: bool) -> None:
        """Begin a training.

        Args:
            run: of the training.
            measures: whether its first stage measures something per epoch.

        Raises:
            SettingError: epochs for other modalities, or none said in a loop of one's own.
        """
        self._epoch, self.joined, self._lengths = None, False, {}
        if isinstance(self._given, Mapping):
            checks.same_modalities("unimodal_epochs", self._given, run.modalities)
        if self._given is None and run.data is None:
            raise SettingError(
                "How many epochs there will be is known in the bundled loop only. Say with "
                "unimodal_epochs= after how many the encoders are trained together."
            )
        if measures and 1 in self._said(run, epochs=None).values():
            warnings.warn(
                "A first stage of a single epoch says little about which examples are easy: the "
                "paper takes the mean over 20 to 80. Pass a larger unimodal_epochs.",
                NotIntendedUseWarning,
                stacklevel=5,
            )

    def enter(self, run: Run) -> bool:
        """Take note of where the training is; say whether the second stage begins now.

        Called with every batch, as an epoch that is resumed in its middle does not begin.

        Raises:
            SettingError: no epoch is left for the second stage.
        """
        if self._epoch == run.epoch:
            return False
        if self._epoch is None:  # nothing stands still yet, so all that can be trained is seen
            for modality in run.modalities:
                run.parameters(modality)
            self._lengths = self._said(run, epochs=None if run.plan is None else run.plan.epochs)
        self._epoch = run.epoch
        self._held.release()
        self.active = tuple(name for name, length in self._lengths.items() if run.epoch < length)
        self.first = bool(self.active)
        if self.first:
            self._held.hold(owned_by_none(run))
            for modality in self._lengths.keys() - set(self.active):
                self._held.hold(run.parameters(modality), layers_of(run, modality))
            return False
        begins, self.joined = not self.joined, True
        return begins

    def end(self) -> None:
        """Give back what stands still."""
        self._held.release()

    def _said(self, run: Run, epochs: int | None) -> dict[str, int]:
        """Return how many epochs each encoder is trained alone; `epochs` is that of all."""
        if self._given is None and epochs is None:
            return {}
        given = self._given
        if given is None:
            given = max(1, 3 * (epochs or 0) // 4)
        lengths = given if isinstance(given, Mapping) else dict.fromkeys(run.modalities, given)
        if epochs is not None and max(lengths.values()) >= epochs:
            raise SettingError(
                f"epochs={epochs} leaves none for the second stage, as the first one takes "
                f"{max(lengths.values())}. Pass more epochs, or a smaller unimodal_epochs."
            )
        return {name: lengths[name] for name in run.modalities}


def fresh_start(run: Run, *, new_head: bool) -> None:
    """Begin as a new training would: without the optimizer's memory, and with a new head.

    Args:
        run: of the training.
        new_head: whether the head is initialized anew, from the global random state.
    """
    optimizer = run.optimizer if run.plan is None else run.plan.optimizer
    if optimizer is not None and run.step:
        optimizer.state.clear()
    if not new_head:
        return
    path = run.anatomy.head or (run.fusion.path if run.fusion and run.fusion.is_head else None)
    modules = dict(run.model.named_modules())
    head = modules.get(path or "")
    layers = [] if not path or head is None else [m for m in head.modules() if _can_be_reset(m)]
    if head is None or not layers:
        warnings.warn(
            "No head that can be initialized anew is known in this model, so it stays as it is. "
            "Name its module in Anatomy(head=...), or pass new_head=False.",
            NoEffectWarning,
            stacklevel=5,
        )
        return
    for layer in layers:
        layer.reset_parameters()  # pyright: ignore[reportCallIssue]
    same_on_all_ranks_(head.state_dict().values())


def _can_be_reset(module: nn.Module) -> bool:
    return callable(getattr(module, "reset_parameters", None))
