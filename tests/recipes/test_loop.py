"""The bundled loop: every event in its place, and the gradients that were asked for."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recipes
from imbalance_lens.schema import validate
from recipes.ogm_ge import OgmGe

from .trainings import (
    Listening,
    data_of,
    loader_of,
    model_of,
    same,
    sgd,
    trained,
    weights_of,
)


def events_of_a_micro_batch(epoch: int, step: int, micro: int, size: int) -> list[tuple]:
    return [
        ("on_batch", epoch, step, micro, size),
        ("on_features", epoch, step, micro, "audio", size),
        ("on_features", epoch, step, micro, "visual", size),
        ("on_loss", epoch, step, micro, size),
    ]


def test_events_fire_in_the_documented_order_and_number() -> None:
    recipe = Listening()
    recipes.apply(recipe, model_of(), loader_of(8, 22), epochs=2, accumulate=2, device="cpu")
    expected: list[tuple] = [("on_fit_start", 0, 0, 0)]
    for epoch in (0, 1):
        step, micro = 2 * epoch, 3 * epoch
        expected.append(("on_epoch_start", epoch, step, micro))
        expected += events_of_a_micro_batch(epoch, step, micro, 8)
        expected += events_of_a_micro_batch(epoch, step, micro + 1, 8)
        expected += [("on_gradients", epoch, step, micro + 2)]
        expected += [("on_step_end", epoch, step, micro + 2)]
        expected += events_of_a_micro_batch(epoch, step + 1, micro + 2, 6)  # the uneven rest
        expected += [("on_gradients", epoch, step + 1, micro + 3)]
        expected += [("on_step_end", epoch, step + 1, micro + 3)]
        expected += [("on_epoch_end", epoch, step + 2, micro + 3)]
    expected.append(("on_fit_end", 2, 4, 6))
    assert recipe.told == expected


def test_ends_come_in_reverse_order() -> None:
    told: list[tuple] = []
    names = ("first", "second")
    both = [type(name, (Listening,), {"__module__": name})() for name in names]
    for recipe in both:
        recipe._note = partial(lambda who, event, *_: told.append((event, who)), recipe.name)
    recipes.apply(both, model_of(), loader_of(24), epochs=1, device="cpu")
    order: dict[str, list[str]] = {}
    for event, who in told:
        order.setdefault(event, []).append(who)
    for event, who in order.items():
        ends = event in ("on_step_end", "on_epoch_end", "on_fit_end")
        wanted = list(reversed(names)) if ends else list(names)
        assert who[:2] == wanted or event == "on_features", event
    assert order["on_features"] == ["first", "second"] * 2


def test_first_and_last_epoch_are_included() -> None:
    recipe = Listening(start_epoch=1, end_epoch=2)
    recipes.apply(recipe, model_of(), loader_of(24), epochs=4, device="cpu")
    assert {told[1] for told in recipe.told[1:-1]} == {1, 2}
    assert recipe.told[0][0] == "on_fit_start"
    assert recipe.told[-1][0] == "on_fit_end"


def gradients_of(recipe: Any, batch_size: int, accumulate: int, **settings: Any) -> list[dict]:
    listener = Listening()
    chosen = [recipe, listener]
    given: dict[str, Any] = {"epochs": 1, "optimizer": sgd, "seed": 3, "device": "cpu", **settings}
    recipes.apply(chosen, model_of(), loader_of(batch_size, 72), accumulate=accumulate, **given)
    return listener.gradients


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [("none", {}), ("ogm_ge", {"noise": False}), ("multi_loss", {}), ("mlb", {})],
)
def test_micro_batches_make_the_gradients_of_their_whole(recipe: str, settings: dict) -> None:
    whole = gradients_of(recipe, 32, 1, **settings)
    parts = gradients_of(recipe, 8, 4, **settings)
    assert len(whole) == len(parts) == 3  # of 32, 32 and 8 examples
    for one, other in zip(whole, parts, strict=True):
        assert one.keys() == other.keys()
        for name, gradient in one.items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


def test_micro_batches_of_unlike_size_count_by_their_examples() -> None:
    data = data_of(20).tensors
    uneven = [tuple(t[a:b] for t in data) for a, b in ((0, 3), (3, 13), (13, 20))]
    one, other = Listening(), Listening()
    recipes.apply(one, model_of(), uneven, epochs=1, accumulate=3, device="cpu")
    recipes.apply(other, model_of(), [data], epochs=1, device="cpu")
    for name, gradient in other.gradients[0].items():
        torch.testing.assert_close(one.gradients[0][name], gradient, rtol=1e-4, atol=1e-6)
    assert one.seen[0].examples == 0  # nobody wants scores
    assert one.seen[0].scores == {}


def test_scores_are_summed_over_the_micro_batches_of_a_step() -> None:
    recipe = Listening()
    chosen = [OgmGe(noise=False), recipe]
    fit = recipes.apply(chosen, model_of(), loader_of(8), epochs=1, accumulate=3, device="cpu")
    (seen,) = recipe.seen
    assert int(seen.examples) == 24
    shown = fit.history["step_score"].values[0] * 24
    assert shown == pytest.approx([float(score) for score in seen.scores.values()])


def test_gradients_are_clipped_after_they_are_modulated() -> None:
    recipe, norms = Listening(), []

    class Noting(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            found = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(float(nn.utils.get_total_norm(found)))
            return super().step(closure)

    recipes.apply(
        ["ogm_ge", recipe],
        model_of(),
        loader_of(24),
        epochs=1,
        clip_norm=0.01,
        optimizer=partial(Noting, lr=0.1),
        device="cpu",
    )
    before = float(nn.utils.get_total_norm(recipe.gradients[0].values()))
    assert before > 0.011
    assert norms == [pytest.approx(0.01, rel=1e-3)]


@pytest.mark.parametrize("recipe", ["ogm_ge", "opm", "mlb", ["opm", "ogm_ge"]])
def test_probes_watch_without_a_trace(recipe: Any) -> None:
    plain = trained(recipe, epochs=2)
    model = model_of()
    fit = recipes.apply(
        recipe,
        model,
        loader_of(),
        epochs=2,
        optimizer=sgd,
        seed=3,
        probes=["logit_norm", "discrepancy"],
        device="cpu",
    )
    assert same(weights_of(model), plain)
    assert set(fit.probes) == {"logit_norm", "discrepancy"}
    assert fit.probes["discrepancy"].sizes["step"] == 6


def test_probes_see_what_the_recipe_sees() -> None:
    """The watch is shown the features before they are dropped, as the recipe's scores are."""
    fit = recipes.apply(
        "opm",
        model_of(),
        loader_of(24),
        epochs=1,
        q_base=1.0,
        probes=["discrepancy"],
        device="cpu",
        seed=0,
    )
    ratio = fit.history["step_ratio"].values
    assert fit.probes["discrepancy"]["ratio"].values == pytest.approx(ratio, rel=1e-5)


def test_the_history_follows_the_schema_and_survives_a_file(tmp_path) -> None:
    import xarray as xr

    fit = recipes.apply(
        ["opm", "mlb"],
        model_of(),
        loader_of(),
        val_loader=loader_of(5),
        epochs=2,
        accumulate=2,
        device="cpu",
    )
    history = fit.history
    validate(history)
    assert dict(history.sizes) == {"step": 4, "epoch": 2, "modality": 2}
    assert history["step_epoch"].values.tolist() == [0, 0, 1, 1]
    for name in (
        "step_loss",
        "step_accuracy",
        "step_score",
        "step_ratio",
        "step_coefficient",
        "step_drop_probability",
        "learning_rate",
        "seconds",
        "throughput",
        "val_loss",
        "val_accuracy",
        "val_modality_accuracy",
        "val_score",
    ):
        assert history[name].notnull().all(), name
        assert history[name].attrs["units"]
    history.to_netcdf(tmp_path / "history.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "history.nc", engine="h5netcdf") as back:
        xr.testing.assert_identical(back.load(), history)
    assert "opm + mlb: 2 epochs, 4 steps" in fit.summary()


def test_logs_are_told_of_every_step_and_epoch(tmp_path) -> None:
    told: list[tuple[dict, int]] = []
    given: dict[str, Any] = {"epochs": 2, "device": "cpu", "seed": 0}
    fit = recipes.apply(
        "ogm_ge", model_of(), loader_of(), log=lambda n, s: told.append((n, s)), **given
    )
    assert [step for _, step in told] == [0, 1, 2, 2, 3, 4, 5, 5]
    assert told[1][0]["loss"] == fit.history["step_loss"].values[1]
    assert told[1][0]["ratio/audio"] == fit.history["step_ratio"].values[1, 0]
    assert told[3][0].keys() == {"learning_rate", "seconds", "throughput"}
    recipes.apply(
        "ogm_ge", model_of(), loader_of(), log=recipes.to_csv(tmp_path / "log.csv"), **given
    )
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert f"1,loss,{told[1][0]['loss']}" in lines


def test_a_board_shows_what_the_history_has(tmp_path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = recipes.to_tensorboard(tmp_path)
    fit = recipes.apply("ogm_ge", model_of(), loader_of(), epochs=2, device="cpu", seed=0, log=log)
    board = reading.EventAccumulator(str(tmp_path)).Reload()
    losses = [event.value for event in board.Scalars("loss")]
    np.testing.assert_allclose(losses, fit.history["step_loss"], rtol=1e-6)
    ratios = [event.value for event in board.Scalars("ratio/audio")]
    np.testing.assert_allclose(ratios, fit.history["step_ratio"].sel(modality="audio"), rtol=1e-6)
