"""The callback for Lightning: what it attaches, gives back, keeps, and complains about."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import recipes
from imbalance_lens.errors import (
    BatchError,
    NotAttachedError,
    SettingError,
    UnknownNameError,
)
from recipes.adapters.lightning import RecipeCallback
from tests.recipes.adapters.loops import fit, heads_of, left_over, lightning_module, quiet, split
from tests.recipes.trainings import Listening, data_of, loader_of, model_of, same, sgd, weights_of

INPUTS, _ = split(next(iter(loader_of(6))))


def module_of(step: Callable[..., Any] | None = None, **methods: Any) -> Any:
    """A LightningModule around the small model, with methods of its own."""
    base = lightning_module()
    own = {**methods, **({} if step is None else {"training_step": step})}
    return type("Own", (base,), own)(model_of())


def callback_of(recipe: Any = "ogm_ge", **settings: Any) -> RecipeCallback:
    return RecipeCallback(recipe, **{"inputs": INPUTS, "model": "model", "seed": 3, **settings})


def test_nothing_is_left_attached_after_a_fit() -> None:
    module, callback = module_of(), callback_of()
    trainer = fit(module, callback)
    assert left_over(module) == []
    (optimizer,) = trainer.optimizers
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_attached_after_an_error(error: type[BaseException]) -> None:
    seen: dict[str, Any] = {}

    def fails(self: Any, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 1:
            seen["attached"] = left_over(self)
            seen["optimizer"] = self.optimizers().optimizer
            raise error("stop here")
        return type(self).__mro__[1].training_step(self, batch, batch_idx)

    module = module_of(fails)
    with pytest.raises((error, SystemExit)):
        fit(module, callback_of())
    assert ".training_step" in seen["attached"]
    assert left_over(module) == []
    assert not seen["optimizer"]._optimizer_step_post_hooks


def test_a_step_of_several_micro_batches_is_modulated_once() -> None:
    listener = Listening()
    callback = callback_of(["ogm_ge", listener])
    fit(module_of(), callback, max_epochs=1, accumulate_grad_batches=2)
    events = [told[0] for told in listener.told]
    assert events.count("on_loss") == 4
    assert events.count("on_gradients") == events.count("on_step_end") == 2
    assert [int(seen.examples) for seen in listener.seen] == [12, 12]
    assert callback.history["step_coefficient"].sizes["step"] == 2


def test_the_history_knows_steps_and_epochs() -> None:
    callback = callback_of()
    fit(module_of(), callback)
    history = callback.history
    assert history["step_epoch"].values.tolist() == [0] * 4 + [1] * 4
    assert history.sizes["epoch"] == 2
    assert (history["step_ratio"].sel(modality="audio")[-1] > 1).all()


def test_gradients_are_clipped_after_they_are_modulated() -> None:
    listener, norms = Listening(), []

    def note(self: Any, optimizer: Any) -> None:
        found = [p.grad for p in self.parameters() if p.grad is not None]
        norms.append(float(nn.utils.get_total_norm(found)))

    module = module_of(on_before_zero_grad=note)
    fit(module, callback_of([listener, "ogm_ge"]), max_epochs=1, gradient_clip_val=0.01)
    assert float(nn.utils.get_total_norm(listener.gradients[0].values())) > 0.011
    assert norms == [0, *[pytest.approx(0.01, rel=1e-3)] * 3]  # each before the next step's


def test_heads_are_trained_and_follow_the_schedule_of_the_first_group() -> None:
    def optimizers(self: Any) -> Any:
        optimizer = sgd(self.parameters())
        halved = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda epoch: 0.5**epoch])
        return [optimizer], [halved]

    module, heads = module_of(configure_optimizers=optimizers), heads_of()
    before = [weights_of(head) for head in heads.values()]
    trainer = fit(module, callback_of("mlb", heads=heads))
    for head, then in zip(heads.values(), before, strict=True):
        assert not same(weights_of(head), then)
    (group,) = trainer.optimizers[0].param_groups
    assert group["lr"] == pytest.approx(0.025)
    assert len(group["params"]) == len([*module.parameters()]) + 4


@pytest.mark.parametrize("recipe", ["ogm_ge", "mlb"])
def test_a_fit_that_goes_on_from_a_checkpoint_ends_as_one_that_was_not_interrupted(
    recipe: str, tmp_path: Path
) -> None:
    def heads() -> Any:
        return heads_of() if recipe == "mlb" else None

    whole, callback = module_of(), callback_of(recipe, heads=heads())
    fit(whole, callback, max_epochs=3)
    first = fit(module_of(), callback_of(recipe, heads=heads()), max_epochs=1)
    first.save_checkpoint(tmp_path / "run.ckpt")
    resumed, other = module_of(), callback_of(recipe, heads=heads(), seed=77)
    fit(resumed, other, max_epochs=3, checkpoint=tmp_path / "run.ckpt")
    assert same(weights_of(resumed), weights_of(whole))
    assert other.history.equals(callback.history)
    assert other.treatment is not None
    assert (other.treatment.run.step, other.treatment.run.epoch) == (12, 3)


def test_a_second_fit_of_the_trainer_counts_its_epochs_on() -> None:
    listener = Listening()
    module, callback = module_of(), callback_of(listener)
    trainer = fit(module, callback, max_epochs=1)
    trainer.fit_loop.max_epochs = 2
    with quiet():
        trainer.fit(module, loader_of(6))
    starts = [told[1] for told in listener.told if told[0] == "on_epoch_start"]
    assert starts == [0, 1]


def test_the_lightning_module_itself_may_be_the_model() -> None:
    whole = module_of()
    whole.example_input_array = INPUTS
    inside = module_of()
    fit(whole, RecipeCallback("ogm_ge", seed=3))
    fit(inside, callback_of())
    assert same(weights_of(whole), weights_of(inside))
    assert left_over(whole) == []


def test_a_training_step_may_take_mappings_and_return_them() -> None:
    def step(self: Any, batch: Any, batch_idx: int) -> Any:
        return {
            "loss": cross_entropy(self(batch["audio"], batch["visual"]), batch["label"]),
            "of": batch_idx,
        }

    returned: list[Any] = []

    def note(self: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        returned.append(outputs["of"])

    data = [dict(zip(("audio", "visual", "label"), one, strict=True)) for one in data_of(24)]
    loader = DataLoader(data, 6)  # type: ignore[arg-type]
    module, plain = module_of(step, on_train_batch_end=note), module_of()
    fit(module, callback_of(), loader=loader)
    fit(plain, callback_of())
    assert same(weights_of(module), weights_of(plain))
    assert returned == [0, 1, 2, 3] * 2


@dataclass(eq=False, kw_only=True)
class Relabeling(recipes.Recipe):
    """Says that all examples are of class 0."""

    labels: list[Tensor] = field(default_factory=list, init=False)
    card = recipes.Card(
        title="", paper="", equations="", events=("on_batch",), touches=(), needs="", defaults=""
    )

    def on_batch(self, run: recipes.Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        return inputs, torch.zeros_like(labels)


@pytest.mark.parametrize("form", ["flat", "pair", "mapping"])
def test_what_a_recipe_puts_in_place_of_a_batch_reaches_the_training_step(form: str) -> None:
    given: list[Any] = []

    def step(self: Any, batch: Any, batch_idx: int) -> Any:
        if form == "mapping":
            inputs, labels = (batch["audio"], batch["visual"]), batch["labels"]
        else:
            inputs, labels = batch if form == "pair" else split(batch)
        given.append(labels)
        return cross_entropy(self(*inputs), labels)

    audio, visual, labels = data_of(24).tensors
    batches = {
        "flat": (audio, visual, labels),
        "pair": ((audio, visual), labels),
        "mapping": {"audio": audio, "visual": visual, "labels": labels},
    }
    fit(
        module_of(step),
        callback_of(Relabeling()),
        loader=DataLoader([batches[form]], batch_size=None),
        max_epochs=1,
    )
    assert [one.unique().tolist() for one in given] == [[0]]


def test_a_replaced_batch_cannot_be_put_together_after_a_split() -> None:
    with pytest.raises(SettingError, match="without split="):
        fit(module_of(), callback_of(Relabeling(), split=split))


def test_batches_of_other_kinds_are_split_as_the_user_says() -> None:
    def step(self: Any, batch: Any, batch_idx: int) -> Any:
        return cross_entropy(self(batch["a"], batch["v"]), batch["y"])

    audio, visual, labels = data_of(24).tensors
    loader = DataLoader([{"a": audio, "v": visual, "y": labels}], batch_size=None)
    callback = callback_of(split=lambda batch: ((batch["a"], batch["v"]), batch["y"]))
    fit(module_of(step), callback, loader=loader, max_epochs=1)
    assert callback.history.sizes["step"] == 1
    with pytest.raises(BatchError, match="no labels"):
        fit(module_of(step), callback_of(), loader=loader, max_epochs=1)


def test_a_step_without_a_loss_leaves_the_recipes_alone() -> None:
    def step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = type(self).__mro__[1].training_step(self, batch, batch_idx)
        return None if batch_idx == 1 else loss

    listener = Listening()
    fit(module_of(step), callback_of(listener), max_epochs=1)
    assert [told[0] for told in listener.told].count("on_gradients") == 3


def manual(self: Any) -> None:
    self.automatic_optimization = False


@pytest.mark.parametrize(
    ("settings", "methods", "kind", "message"),
    [
        ({"inputs": None}, {}, SettingError, "example_input_array"),
        ({"model": "modell"}, {}, UnknownNameError, "Did you mean 'model'"),
        ({}, {"setup": lambda self, stage: manual(self)}, SettingError, "recipes.attach"),
    ],
)
def test_what_cannot_be_attached_is_complained_about(
    settings: dict, methods: dict, kind: type[Exception], message: str
) -> None:
    module = module_of(**methods)
    with pytest.raises(kind, match=message):
        fit(module, callback_of(**settings))
    assert left_over(module) == []


def test_wrong_settings_are_complained_about_before_the_trainer_is_built() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'alpha'"):
        callback_of(alfa=0.5)
    with pytest.raises(UnknownNameError, match="recipe"):
        callback_of("ogmge")


def test_there_is_no_history_before_a_fit() -> None:
    with pytest.raises(NotAttachedError, match="Trainer"):
        _ = callback_of().history


def test_a_model_that_the_training_step_does_not_call_is_noticed() -> None:
    def step(self: Any, batch: Any, batch_idx: int) -> Any:
        (audio, visual), labels = split(batch)
        return cross_entropy(self.model(audio, visual), labels)

    with pytest.raises(NotAttachedError, match="No training pass"):
        fit(module_of(step), partial(RecipeCallback, "ogm_ge", inputs=INPUTS)())
