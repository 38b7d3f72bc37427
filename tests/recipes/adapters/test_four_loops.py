"""A recipe does the same in the bundled loop, a hand-written one, Accelerate and Lightning."""

import functools
from typing import Any

import pytest
from torch import Tensor

import recipes
from tests.recipes.adapters.loops import LOOPS, bundled, in_lightning
from tests.recipes.trainings import same

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "none": ("none", {}),
    "ogm_ge": ("ogm_ge", {"noise": True}),
    "mlb": ("mlb", {"heads": True}),
    "opm+ogm_ge": (["opm", "ogm_ge"], {}),
}


@functools.cache
def reference(case: str, accumulate: int) -> dict[str, Tensor]:
    recipe, settings = CASES[case]
    return bundled(recipe, accumulate=accumulate, **settings)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("loop", LOOPS)
def test_parameters_are_bitwise_those_of_the_bundled_loop(
    loop: str, case: str, accumulate: int
) -> None:
    recipe, settings = CASES[case]
    trained = LOOPS[loop](recipe, accumulate=accumulate, **settings)
    assert same(trained, reference(case, accumulate))
    assert case == "none" or not same(trained, reference("none", accumulate))


def test_either_name_of_lightning_will_do() -> None:
    trained = in_lightning("ogm_ge", noise=True, library="pytorch_lightning")
    assert same(trained, reference("ogm_ge", 1))


def test_a_recipe_that_is_made_already_can_be_attached_again() -> None:
    made = recipes.get("ogm_ge")(noise=True)
    assert same(in_lightning(made), in_lightning(made))
