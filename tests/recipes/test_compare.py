"""Recipes are compared on equal terms, and every number is what its name says."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score
from torch.utils.data import DataLoader, Subset

import imbalance_lens as lens
import recipes
from imbalance_lens.errors import SettingError, UnknownNameError
from imbalance_lens.schema import validate
from imbalance_lens.testing import PlantedData

from .comparisons import SIGNAL, compared, loader, loaders, model, sgd, timeless


@pytest.fixture(scope="module")
def found() -> recipes.Comparison:
    return compared(["ogm_ge", ["opm", "ogm_ge"]], seeds=3, flops=True)


def test_values_lie_over_recipe_seed_and_metric_and_survive_a_file(
    found: recipes.Comparison, tmp_path: Path
) -> None:
    validate(found.dataset)
    assert found.dataset["value"].dims == ("recipe", "seed", "metric")
    assert found.dataset["recipe"].values.tolist() == ["none", "ogm_ge", "opm + ogm_ge"]
    assert found.dataset["metric"].values.tolist() == [
        *("accuracy", "map", "macro_f1", "ece", "linear_probe audio", "linear_probe visual"),
        *("ratio audio", "ratio visual", "time_ratio", "flops_ratio"),
    ]
    assert bool(np.isfinite(found.dataset["value"]).all())
    found.dataset.to_netcdf(tmp_path / "found.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "found.nc") as kept:
        assert recipes.Comparison(kept.load()).table() == found.table()


def test_each_number_is_what_training_and_measuring_by_hand_gives(
    found: recipes.Comparison,
) -> None:
    torch.manual_seed(2)
    net, data = model(), loaders()
    recipes.apply("ogm_ge", net, data["train"], epochs=1, optimizer=sgd, seed=2, device="cpu")
    report = lens.diagnose(
        net, data["test"], probes=["linear_probe", "discrepancy"], train=data["train"]
    )
    with torch.no_grad():
        logits = torch.cat([net(**inputs) for inputs, _ in data["test"]])
    labels = torch.cat([labels for _, labels in data["test"]]).numpy()
    guesses, chance = logits.argmax(1).numpy(), logits.softmax(1).numpy()
    expected = {
        "accuracy": np.mean(guesses == labels),
        "map": average_precision_score(np.eye(4)[labels], chance, average="macro"),
        "macro_f1": f1_score(labels, guesses, average="macro"),
        "ece": slow_calibration_error(chance, labels),
        "linear_probe audio": report.tree["linear_probe"]["accuracy"].sel(head="audio").item(),
        "ratio visual": report.tree["discrepancy"]["total_ratio"].sel(modality="visual").item(),
    }
    own = found.dataset["value"].sel(recipe="ogm_ge", seed=2)
    for name, value in expected.items():
        assert own.sel(metric=name).item() == pytest.approx(value, abs=1e-6), name


def slow_calibration_error(chance: np.ndarray, labels: np.ndarray) -> float:
    """The mean distance of confidence and accuracy, bin by bin."""
    total = 0.0
    for low, high in itertools.pairwise(np.linspace(0, 1, 16)):
        inside = [i for i, row in enumerate(chance) if low < row.max() <= high]
        if inside:
            right = np.mean([chance[i].argmax() == labels[i] for i in inside])
            sure = np.mean([chance[i].max() for i in inside])
            total += len(inside) / len(labels) * abs(right - sure)
    return float(total)


def test_costs_are_ratios_to_plain_joint_training(found: recipes.Comparison) -> None:
    seconds, operations = found.dataset["seconds"], found.dataset["operations"]
    ratios = found.dataset["value"].sel(metric="time_ratio")
    assert np.allclose(ratios, seconds / seconds.sel(recipe="none"))
    assert operations.sel(recipe="ogm_ge") >= operations.sel(recipe="none")
    assert found.dataset["value"].sel(metric="flops_ratio", recipe="none", seed=0) == 1


def test_operations_are_those_of_the_whole_training() -> None:
    first, second = (
        compared(["none"], seeds=1, epochs=epochs, flops=True).dataset["operations"].item()
        for epochs in (1, 2)
    )
    forward = 2 * (2 * 4 * 4 + 8 * 4)  # of two encoders and a head
    first_layers = 2 * 2 * 4 * 4  # need no gradient for their inputs
    assert second - first == 48 * (3 * forward - first_layers)


def test_the_probability_is_that_of_the_paired_test(found: recipes.Comparison) -> None:
    values = found.dataset["value"].sel(metric="ratio audio")
    ours, plain = values.sel(recipe="opm + ogm_ge"), values.sel(recipe="none")
    expected = stats.ttest_rel(ours, plain).pvalue
    p_value = found.dataset["p_value"].sel(metric="ratio audio")
    assert p_value.sel(recipe="opm + ogm_ge").item() == pytest.approx(expected)
    assert math.isnan(p_value.sel(recipe="none").item())


def test_recipes_begin_alike_and_the_process_keeps_its_random_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = compared({"joint": "none", "neutral": ("ogm_ge", {"alpha": 0.0, "noise": False})})
    assert torch.equal(torch.get_rng_state(), before)
    values = found.dataset["value"].drop_sel(metric=["time_ratio", "flops_ratio"])
    joint, treated = (values.sel(recipe=name).values for name in ("joint", "neutral"))
    assert np.array_equal(joint, treated)
    assert np.isnan(found.dataset["p_value"].sel(metric="accuracy")).all()  # no difference at all
    assert not values.isel(seed=0).equals(values.isel(seed=1))
    assert found.dataset.attrs["baseline"] == "joint"


def test_recipes_may_be_given_in_any_form() -> None:
    made = recipes.ogm_ge.OgmGe(alpha=0.3)
    by_name = {"own": ("ogm_ge", {"alpha": 0.3})}
    found = compared({"made": made, **by_name, "both": ["opm", made]}, seeds=[4])
    assert found.dataset["recipe"].values.tolist() == ["none", "made", "own", "both"]
    assert found.dataset["seed"].values.tolist() == [4]
    one, other = (timeless(found)["value"].sel(recipe=name) for name in ("made", "own"))
    assert one.drop_vars("recipe").equals(other.drop_vars("recipe"))
    assert json.loads(found.dataset.attrs["settings"])["made"][0]["settings"]["alpha"] == 0.3


def test_a_joint_head_that_was_not_trained_has_no_scores() -> None:
    found = compared(["unimodal"], seeds=1)
    values = found.dataset["value"].sel(recipe="unimodal", seed=0)
    assert np.isnan(values.sel(metric=["accuracy", "map", "macro_f1", "ece", "ratio audio"])).all()
    assert np.isfinite(values.sel(metric=["linear_probe audio", "time_ratio"])).all()
    assert "unimodal at seed 0: its joint head was not trained" in found.table()


def test_validation_data_keeps_the_best_epoch_and_reaches_recipes_that_learn_from_it() -> None:
    found = compared(["olm"], data=loaders(val=loader(2)), seeds=1, epochs=2)
    assert found.failures == {}
    assert np.isfinite(found.dataset["best_epoch"]).all()
    assert found.protocol["by_seed"]["0"]["data"]["val"]["examples"] == 48


def test_loaders_may_follow_the_seed() -> None:
    asked: list[int] = []

    def by_seed(seed: int) -> Mapping[str, Any]:
        asked.append(seed)
        order = torch.randperm(96).tolist()
        data = PlantedData(SIGNAL, examples=96)
        parts = {"train": order[:48], "test": order[48:]}
        return {name: DataLoader(Subset(data, part), 16) for name, part in parts.items()}

    one, other = compared(["none"], data=by_seed), compared(["none"], data=by_seed)
    assert asked == [0, 1, 0, 1]
    xr.testing.assert_identical(timeless(one), timeless(other))
    splits = [one.protocol["by_seed"][seed]["data"]["test"]["hash"] for seed in "01"]
    assert splits[0] != splits[1]


def test_a_loader_s_own_generator_is_the_same_for_every_recipe() -> None:
    shuffled = DataLoader(
        PlantedData(SIGNAL, examples=48), 16, shuffle=True, generator=torch.Generator()
    )
    neutral = ("ogm_ge", {"alpha": 0.0, "noise": False})
    found = compared({"joint": "none", "neutral": neutral}, data=loaders(train=shuffled), seeds=1)
    values = timeless(found)["value"]
    joint, treated = (values.sel(recipe=name, metric="ece") for name in ("joint", "neutral"))
    assert joint.item() == treated.item()


def test_the_table_is_text_csv_and_latex(found: recipes.Comparison) -> None:
    values = found.dataset["value"].sel(metric="ece")
    best = values.mean("seed").idxmin().item()
    mean = values.mean("seed").sel(recipe=best).item()
    std = values.std("seed", ddof=1).sel(recipe=best).item()
    shown = f"{100 * mean:.1f} ± {100 * std:.1f}"
    text = found.table(metrics=["ece", "time_ratio"])
    assert text.splitlines()[0].split() == ["ECE", "%", "time"]
    assert f"**{shown}**" in next(line for line in text.splitlines() if line.startswith(best))
    assert text.count("**") == 2
    assert "1 epochs, mean ± standard deviation over 3 seeds" in text
    rows = list(csv.DictReader(io.StringIO(found.table("csv"))))
    assert len(rows) == 3 * 10
    (row,) = (row for row in rows if (row["recipe"], row["metric"]) == (best, "ece"))
    assert (float(row["mean"]), float(row["std"])) == (pytest.approx(mean), pytest.approx(std))
    assert (row["seeds"], row["best"]) == ("3", "1")
    latex = found.table("latex", metrics=["ece"])
    assert rf"\mathbf{{{shown.replace('±', chr(92) + 'pm')}}}" in latex
    assert r"ogm\_ge & $" in latex
    assert latex.count(r"\\") == 4
    assert all(len(line) <= 100 for line in found.table().splitlines())


def test_a_sure_difference_is_starred_and_the_best_of_ratios_is_next_to_one() -> None:
    found = compared()
    found.dataset["value"].loc[{"metric": "ratio audio"}] = [[3.0, 3.1], [0.5, 0.6]]
    found.dataset["p_value"].loc[{"metric": "ratio audio", "recipe": "ogm_ge"}] = 0.01
    text = found.table(metrics=["ratio audio"])
    assert "**0.55 ± 0.07** *" in text
    assert "* p < 0.05 against none" in text
    assert r"$\mathbf{0.55 \pm 0.07}^{*}$" in found.table("latex", metrics=["ratio audio"])


@pytest.mark.parametrize(("form", "metrics"), [("html", None), ("text", ["accuracies"])])
def test_an_unknown_form_or_metric_is_said(
    found: recipes.Comparison, form: str, metrics: list[str] | None
) -> None:
    with pytest.raises((SettingError, UnknownNameError), match=r"html|accuracies"):
        found.table(form, metrics=metrics)
