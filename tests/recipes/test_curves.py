import math

import pytest

import recipes
from imbalance_lens.errors import SettingError, UnknownNameError


def test_ogm_ge_slows_down_who_is_ahead_by_the_formula_of_the_paper():
    found = recipes.coefficient_curves({"a": ("ogm_ge", {"alpha": 0.8})}, [0.5, 1, 1.5, 4])
    wanted = [1, 1, *(1 - 0.8 * math.tanh(ratio - 1) for ratio in (1.5, 4))]
    assert found["coefficient"].values[0] == pytest.approx(wanted)


def test_mlb_also_speeds_up_who_is_behind():
    found = recipes.coefficient_curves({"a": ("mlb", {"alpha": 0.5, "beta_max": 10})}, [2, 0.5])
    assert found["coefficient"].values[0] == pytest.approx([0.755081, 5.159054], abs=1e-6)


def test_a_name_alone_has_the_settings_by_default():
    one, other = recipes.coefficient_curves({"a": "mlb", "b": ("mlb", {})})["coefficient"].values
    assert one == pytest.approx(other)


def test_a_recipe_without_factors_is_refused():
    with pytest.raises(SettingError, match="'opm' puts no factor on the pace of encoders"):
        recipes.coefficient_curves({"a": "opm"})
    with pytest.raises(UnknownNameError, match="Did you mean 'ogm_ge'"):
        recipes.coefficient_curves({"a": "ogm_g"})


@pytest.mark.parametrize(("choices", "ratios"), [({}, [1.0]), ({"a": "mlb"}, [1.0, 0.0])])
def test_nothing_to_draw_is_refused(choices, ratios):
    with pytest.raises(SettingError, match="one or more choices and ratios above 0"):
        recipes.coefficient_curves(choices, ratios)
