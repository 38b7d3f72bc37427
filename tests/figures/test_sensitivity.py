from functools import cache

import numpy as np
import pytest

import recipes
from imbalance_lens.errors import SchemaError
from imbalance_lens.figures import FIGURES, plot_sensitivity
from tests.recipes.trainings import loader_of, model_of, sgd


@cache
def compared(**settings):
    """What OGM-GE comes to with several values of its settings."""
    rows = {
        f"row {k}": ("ogm_ge", dict(zip(settings, values, strict=True)))
        for k, values in enumerate(zip(*settings.values(), strict=True))
    }
    loaders = {"train": loader_of(), "test": loader_of()}
    return recipes.compare(
        rows, model_of, loaders, epochs=1, seeds=2, optimizer=sgd, device="cpu", flops=False
    ).dataset


def test_the_outcome_is_drawn_against_the_setting_that_varies_in_its_order():
    ds = compared(alpha=(0.9, 0.1, 0.5))
    assert FIGURES.get("sensitivity").fits(ds)
    ax = plot_sensitivity(ds.sel(metric=["ratio audio"]))
    assert ax.get_xlabel() == "ogm_ge.alpha"
    assert ax.get_ylabel() == "Ratio audio"
    means = ds["value"].sel(metric="ratio audio").mean("seed")
    assert list(ax.lines[0].get_xdata()) == [0.1, 0.5, 0.9]
    wanted = means.sel(recipe=["row 1", "row 2", "row 0"]).values
    assert ax.lines[0].get_ydata() == pytest.approx(wanted)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mean and deviation", "none"]


def test_a_sweep_without_numbers_says_so():
    ds = compared(alpha=(0.9, 0.1, 0.5))
    nothing = ds.map(lambda values: values * np.nan, keep_attrs=True)
    assert "no number is known" in [t.get_text() for t in plot_sensitivity(nothing).texts]


@pytest.mark.parametrize(
    "settings",
    [{"alpha": (0.1, 0.9), "min_ndim": (1, 4)}, {"noise": (True, False)}, {"alpha": (0.1,)}],
)
def test_what_is_no_sweep_of_one_number_is_refused(settings):
    ds = compared(**settings)
    assert not FIGURES.get("sensitivity").fits(ds)
    with pytest.raises(SchemaError, match="differ in one numeric setting only"):
        plot_sensitivity(ds)
