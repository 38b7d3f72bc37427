"""Recipes as a callback of Lightning, whose Trainer then trains as the bundled loop does."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.outputs import LogitsOf
from imbalance_lens.batches import LABEL_KEYS, Split, raw_batch
from imbalance_lens.checks import WITH_SPLIT
from imbalance_lens.errors import BatchError, NotAttachedError, SettingError
from imbalance_lens.hooks.patches import patched
from imbalance_lens.registry import unknown
from recipes._attach import attach
from recipes._base import Recipe
from recipes._compose import RecipeChoice, chosen_recipes
from recipes._treatment import Loss, Treatment

if TYPE_CHECKING:
    import xarray as xr

_HOMES = ("lightning.pytorch", "pytorch_lightning")


def _callback_class() -> Any:
    """Return Lightning's base class; a plain one where there is no Lightning to call it."""
    for home in _HOMES:
        try:
            return importlib.import_module(home).Callback
        except ModuleNotFoundError as error:
            if error.name is None or not f"{home}.".startswith(f"{error.name}."):
                raise  # it is there, and imports something that is not
    return object


_Callback: Any = _callback_class()


class RecipeCallback(_Callback):
    """Lets recipes act in `Trainer.fit` of `lightning` and `pytorch_lightning`.

    `training_step` stays as it is: it gets the batch, runs the model and returns the loss, to
    which the recipes' own terms are added then. Gradients are changed in
    `on_before_optimizer_step`, when Lightning has summed and unscaled them and before it clips.
    Unimodal heads join the optimizer's first parameter group, and so follow its schedule. What
    was attached is gone when the fit is over, also after an error.

    Args:
        recipe: as `recipes.apply` takes it.
        inputs: of one batch; the model runs on them once, frozen. Default: the LightningModule's
            `example_input_array`.
        model: path of the model inside the LightningModule. Default: the LightningModule itself,
            whose `forward` is then what `training_step` has to call.
        split: gets (inputs, labels) out of batches of other kinds than `recipes.apply` knows.
        anatomy: as `recipes.apply` takes it.
        heads: as `recipes.apply` takes it.
        readout: as `recipes.apply` takes it.
        logits: as `recipes.apply` takes it.
        loss: of the unimodal heads. Default: cross-entropy.
        seed: of the noise. Default: drawn from the process's random state.
        settings: of the recipes.

    Attributes:
        treatment: the recipes at work, during and after the fit; None before.

    Raises:
        UnknownNameError: no recipe of a name, or no such setting.
        SettingError: a value that is not allowed.

    Example:
        >>> callback = RecipeCallback("ogm_ge", alpha=0.5)
        >>> callback.treatment is None  # until Trainer(callbacks=[callback]).fit(module, loader)
        True
    """

    def __init__(
        self,
        recipe: RecipeChoice | Iterable[RecipeChoice],
        *,
        inputs: Any = None,
        model: str = "",
        split: Split | None = None,
        anatomy: Anatomy | Mapping[str, str] | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        readout: str = "auto",
        logits: LogitsOf | None = None,
        loss: Loss | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if not isinstance(recipe, str | Recipe):
            recipe = list(recipe)
        chosen_recipes(recipe, settings)  # complains here, not when the data is loaded
        self.treatment: Treatment | None = None
        self._inputs = inputs
        self._path = model
        self._split = split
        self._attach = partial(
            attach,
            recipe,
            anatomy=anatomy,
            heads=heads,
            readout=readout,
            logits=logits,
            loss=loss,
            seed=seed,
            **settings,
        )
        self._attached = ExitStack()
        self._state: Mapping[str, Any] = {}
        self._due = False

    @property
    def history(self) -> xr.Dataset:
        """What was recorded, as `recipes.Fit.history` has it, without losses and accuracies.

        Raises:
            NotAttachedError: nothing was trained yet.
        """
        return self._at_work().history.dataset({})

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach the recipes: the model is on its device, and the optimizer is made."""
        self._detach()
        if not pl_module.automatic_optimization:
            raise SettingError(
                "With automatic_optimization=False the loop is your own. Use recipes.attach in "
                "training_step, in place of the callback."
            )
        (optimizer,) = trainer.optimizers
        treatment = self._attach(self._model_in(pl_module), self._inputs_for(pl_module))
        self._attached.enter_context(treatment)
        self.treatment = treatment
        self._take_over_state()
        # Not a group of its own: a scheduler that was made before would have no rate for it.
        optimizer.param_groups[0]["params"].extend(treatment.parameters())
        step = partial(self._training_step, treatment, pl_module.training_step)
        self._attached.enter_context(patched(pl_module, "training_step", step))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Tell the recipes which epoch begins; it is Lightning that counts."""
        treatment = self._at_work()
        treatment.run.epoch = trainer.current_epoch
        treatment.start_epoch()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ARG002
        """Let the recipes change the gradients, unless every `training_step` gave no loss."""
        if self._due:
            self._at_work().gradients(optimizer)
        self._due = False

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Tell the recipes that the epoch has ended, and move the history to the host."""
        self._at_work().close_epoch()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        """Give everything back."""
        self._detach()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """Give everything back, as Lightning calls no `teardown` after an error."""
        self._detach()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed fit needs: state and history of the recipes, and the heads."""
        if self.treatment is None:
            return dict(self._state)
        heads = self.treatment.run.heads
        return {
            "treatment": self.treatment.state_dict(),
            "history": self.treatment.history.state_dict(),
            "heads": {} if heads is None else heads.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, once the fit starts."""
        self._state = state_dict

    def _training_step(
        self,
        treatment: Treatment,
        original: Callable[..., Any],
        batch: Any,
        *rest: Any,
    ) -> Any:
        inputs, labels = raw_batch(batch, self._split)
        if not labels.numel():
            raise BatchError(f"The batch that training_step gets has no labels; {WITH_SPLIT}.")
        shown = treatment.batch(inputs, labels)
        if shown[0] is not inputs or shown[1] is not labels:
            batch = self._rejoined(batch, *shown)
        returned = original(batch, *rest)
        if returned is None:  # Lightning leaves out such a batch
            return None
        self._due = True
        if isinstance(returned, Mapping):
            return {**returned, "loss": treatment.loss(returned["loss"])}
        return treatment.loss(returned)

    def _rejoined(self, batch: Any, inputs: Any, labels: Tensor) -> Any:
        if self._split is not None:
            raise SettingError(
                "A recipe changes the batch, and what split= took apart cannot be put together "
                "again. Let the loader give (inputs, labels), without split=."
            )
        if isinstance(batch, Mapping):
            key = next(key for key in LABEL_KEYS if key in batch)
            return {**inputs, key: labels}
        return (inputs, labels) if len(batch) == 2 else (*inputs, labels)

    def _model_in(self, pl_module: Any) -> nn.Module:
        try:
            return pl_module.get_submodule(self._path)
        except AttributeError:
            known = [name for name, _ in pl_module.named_children()]
            raise unknown("module in the LightningModule", self._path, known) from None

    def _inputs_for(self, pl_module: Any) -> Any:
        inputs = self._inputs if self._inputs is not None else pl_module.example_input_array
        if inputs is None:
            raise SettingError(
                "The model has to run once on the inputs of a batch. Pass inputs= to "
                "RecipeCallback, or set example_input_array in the LightningModule."
            )
        return inputs

    def _take_over_state(self) -> None:
        if not self._state:
            return
        treatment = self._at_work()
        treatment.load_state_dict(self._state["treatment"])
        treatment.history.load_state_dict(self._state["history"])
        if treatment.run.heads is not None:
            treatment.run.heads.load_state_dict(self._state["heads"])
        self._state = {}

    def _at_work(self) -> Treatment:
        if self.treatment is None:
            raise NotAttachedError(
                "The recipes are at work from the start of a fit. Give the callback to a Trainer: "
                "Trainer(callbacks=[callback]).fit(module, loader)."
            )
        return self.treatment

    def _detach(self) -> None:
        self._attached.close()
        self._due = False
