"""FusT: train encoders alone, then together, hiding parts of what one modality finds easy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from imbalance_lens import checks
from imbalance_lens.errors import NotAttachedError, SettingError

from ._base import Card, Recipe, Run, Seen, Want
from ._fust.confidences import digest
from ._fust.decision_fusion import decision_fusion
from ._fust.flops import count_flops, flops_ratio
from ._fust.input_patches import with_patches_masked
from ._fust.mask_ratio import ETA, RHO, THRESHOLD, MaskRatios, check_strengths, mask_ratio
from ._fust.measuring import Measuring, numbers_of
from ._fust.patches import Extent, check_patches, masked
from ._fust.stages import Stages, fresh_start
from ._gradients import Modulation
from ._history import Quantity
from ._losses import head_losses, plus

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "CARD",
    "RECIPE",
    "FusT",
    "count_flops",
    "decision_fusion",
    "flops_ratio",
    "mask_ratio",
    "masked",
]

CARD = Card(
    title="FusT, two-stage Fusion Tuning",
    paper="Feng et al., Revisiting Pre-training in Audio-Visual Learning, 2023",
    equations="eq. 4, generalized to several modalities; variants of Tables 3 and 13, costs of "
    "Table 8",
    events=(
        "on_fit_start",
        "on_batch",
        "on_loss",
        "on_gradients",
        "on_step_end",
        "on_epoch_end",
        "on_fit_end",
    ),
    touches=("loss", "inputs"),
    needs="class labels; encoders with parameters of their own; examples with numbers (a dataset "
    "with __getitem__, a list of batches, or a split that gives them); normalized inputs",
    defaults="rho=1, eta=1 and threshold=0.2 are the paper's for audio on Kinetics-Sounds (Table "
    "12), where rho of the visual modality is 0.4. unimodal_epochs: three quarters of all, about "
    "the shares of Table 8. Patches are those of the authors' code for its sizes of input.",
    deviations=(
        "both modalities are masked, as in eq. 4; the authors' code does not compare them, so that "
        "it never masks the visual one and lets negative ratios into the mean of FusT-mean: "
        "official_quirk=True gives its ratios",
        "confidence above the threshold, as in eq. 4; the authors' code allows equality",
        "with more than two modalities (ours) one is compared with the mean of the others, of "
        "which each has to be above the threshold",
        "the paper does not say what confidence is; here it is the true-class probability by the "
        "modality's head, in eval mode after each epoch, without augmentation if unaugmented= is "
        "given. online=True takes it from the training passes.",
        "stage 1 is one training for all encoders, each with a loss of its own; an encoder whose "
        "epochs are over stands still",
        "stage 2 begins with a fresh optimizer state and, with new_head=True, a fresh head; the "
        "learning rate's schedule goes on",
        "sequences lose whole steps and feature vectors single elements (ours); the paper has "
        "images and spectrograms",
        "modality learning rates scale what the optimizer's step does to an encoder, in stage 2",
    ),
)

MASKINGS = ("sample", "modality_mean", "none")
MASK_RATIO = Quantity(
    "mask_ratio",
    "1",
    "share of the modality's input that is left out, mean over the training examples",
    "recipes.fust.mask_ratio",
)


@dataclass(eq=False, kw_only=True)
class FusT(Recipe):
    """Trains every encoder alone, then all together on inputs of which parts are hidden.

    Args:
        unimodal_epochs: of stage 1, for all encoders or for each; the rest is stage 2. 0: stage 2
            at once, with `confidences` or without masks. None: three quarters of all.
        masking: "sample", "modality_mean" (FusT-mean) or "none" (FusT*).
        rho: as for `mask_ratio`; 0 for a modality that is never masked.
        eta: as for `mask_ratio`.
        threshold: as for `mask_ratio`.
        patches: modality -> one extent per dimension of its input after the batch: a size, "whole"
            for all of it, "each" for places that are masked independently, such as frames:
            {"visual": ("whole", "each", 10, 10)}. Default: what the input's shape tells.
        learning_rates: modality -> factor on its encoder's pace in stage 2 (FusT*-lr).
        online: takes confidences from the training passes, which saves the measuring.
        unaugmented: a dataset of the training examples, by the same numbers, to measure on.
        confidences: those of another training, as `measured` gives them, or a netCDF file; then
            none are measured.
        new_head: whether stage 2 begins with a head initialized anew.
        official_quirk: as for `mask_ratio`.

    Raises:
        SettingError: a value that is not allowed, or values that exclude each other.
    """

    unimodal_epochs: int | Mapping[str, int] | None = None
    masking: str = "sample"
    rho: float | Mapping[str, float] = RHO
    eta: float | Mapping[str, float] = ETA
    threshold: float = THRESHOLD
    patches: Mapping[str, Sequence[Extent]] | None = None
    learning_rates: Mapping[str, float] | None = None
    online: bool = False
    unaugmented: Dataset | None = None
    confidences: xr.Dataset | str | os.PathLike[str] | None = None
    new_head: bool = True
    official_quirk: bool = False

    card = CARD
    _stages: Stages = field(init=False, repr=False)
    _pace: Modulation = field(init=False, repr=False)
    _measuring: Measuring = field(init=False, repr=False)
    _ratios: MaskRatios | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("masking", self.masking, MASKINGS)
        check_strengths(self.rho, self.eta)
        for extents in (self.patches or {}).values():
            check_patches(extents)
        for factor in (self.learning_rates or {}).values():
            checks.at_least("learning_rates", factor, 0)
        self._stages = Stages(self.unimodal_epochs)
        self._pace = Modulation("update")
        self._measuring = Measuring(
            online=self.online, dataset=self.unaugmented, given=self.confidences
        )
        self._check_that_settings_agree()

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        wanted = {Want.HEADS} if self._stages.has_first else set()
        if self._measures or self.masking == "sample":
            wanted.add(Want.NUMBERS)
        return wanted

    @property
    def trains_joint(self) -> bool:
        """Whether the joint logits are trained now: in stage 2."""
        return self._stages.joined

    def settings(self) -> dict[str, Any]:
        """Return the values of the init fields; of data, what tells them from others."""
        told = super().settings()
        if self.confidences is not None:
            told["confidences"] = digest(self.confidences)
        if self.unaugmented is not None:
            told["unaugmented"] = type(self.unaugmented).__name__
        return told

    def measured(self) -> xr.Dataset:
        """Return each example's confidences in stage 1, as a dataset over modality and example.

        Raises:
            NotAttachedError: none were measured.
        """
        if not len(self._measuring.found.numbers):
            raise NotAttachedError(
                "No confidences are known. Train with this recipe and a masking."
            )
        return self._measuring.found.dataset(self.settings())

    def on_fit_start(self, run: Run) -> None:
        """Forget another training, and look whether this one can be."""
        for name in ("patches", "learning_rates"):
            checks.no_strangers(name, getattr(self, name) or {}, run.modalities)
        self._stages.begin(run, measures=self._measures)
        if self.masking != "none":
            self._measuring.begin(run)
        self._ratios = None

    def on_batch(self, run: Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        """Return the inputs; in stage 2, with patches left out."""
        if self._stages.enter(run):
            fresh_start(run, new_head=self.new_head)
        if self._stages.first or self.masking == "none":
            return inputs, labels
        numbers = numbers_of(run) if self.masking == "sample" else None
        hidden = self._mask_ratios.of_batch(numbers, len(labels))
        if not hidden:  # then nothing is drawn either
            return inputs, labels
        return with_patches_masked(run, inputs, hidden, self.patches or {}), labels

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:
        """Return, in stage 1, the sum of the losses of encoders that are trained alone."""
        if not self._stages.first:
            return loss
        own = {name: seen.modality_logits[name] for name in self._stages.active}
        if self.masking != "none":
            self._measuring.see(run, own, seen.labels)
        losses = {n: part for n, part in head_losses(run, seen).items() if n in own}
        return plus(losses.pop(next(iter(own))), losses)

    def on_gradients(self, run: Run, seen: Seen) -> None:  # noqa: ARG002
        """Note by how much to scale the update of encoders with a pace of their own."""
        self._pace.begin(run, self.name)
        if self._stages.first:
            return
        for modality, factor in (self.learning_rates or {}).items():
            if (own := run.parameters(modality)) and factor != 1:
                self._pace.scale(own, torch.full((), factor, device=own[0].device))

    def on_step_end(self, run: Run) -> None:
        """Scale the update."""
        self._pace.finish(run)

    def on_epoch_end(self, run: Run) -> None:
        """Measure how sure each encoder is after an epoch of stage 1; tell what is masked in 2."""
        self._stages.enter(run)  # an epoch that was interrupted at its end has no batch any more
        if self.masking == "none":
            return
        if not self._stages.first:
            run.record_epoch(MASK_RATIO, self._mask_ratios.means())
        else:
            self._measuring.close_epoch(run, self._stages.active)

    def on_fit_end(self, run: Run) -> None:  # noqa: ARG002
        """Give back what stood still."""
        self._stages.end()

    def state_dict(self) -> dict[str, Any]:
        """Return confidences and how far the stages have come."""
        return {"joined": self._stages.joined, "measuring": self._measuring.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._stages.joined = state["joined"]
        self._measuring.load_state_dict(state["measuring"])
        self._ratios = None

    @property
    def _measures(self) -> bool:
        return self.masking != "none" and self.confidences is None

    @property
    def _mask_ratios(self) -> MaskRatios:
        if self._ratios is None:
            strengths = self.rho, self.eta, self.threshold
            self._ratios = MaskRatios(
                self._measuring.found,
                *strengths,
                official_quirk=self.official_quirk,
                mean=self.masking == "modality_mean",
            )
        return self._ratios

    def _check_that_settings_agree(self) -> None:
        if self.start_epoch or self.end_epoch is not None:
            raise SettingError(
                "'fust' divides the whole training into two stages; got "
                f"start_epoch={self.start_epoch}, end_epoch={self.end_epoch}. Leave both out; "
                "unimodal_epochs says where the second begins."
            )
        if not self._stages.has_first and self._measures:
            raise SettingError(
                "unimodal_epochs=0 leaves out the stage in which confidences are measured. Pass "
                "confidences=, or masking='none'."
            )


RECIPE = FusT
