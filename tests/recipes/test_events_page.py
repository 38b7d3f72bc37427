"""The page on events names those that there are, in the order in which they fire."""

import re
from pathlib import Path

import recipes

from .trainings import Listening, loader_of, model_of

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
EVENTS = [name for name in vars(recipes.Recipe) if name.startswith("on_")]


def test_the_page_names_every_event_in_its_order() -> None:
    loop = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert loop is not None
    assert re.findall(r"\bon_\w+(?=\()", loop[1]) == EVENTS
    table = PAGE.partition("## Who calls what")[2].partition("A step that")[0]
    assert re.findall(r"`(on_\w+)`", table) == EVENTS
    assert set(re.findall(r"\bon_\w+", PAGE)) == set(EVENTS)


def test_the_events_fire_in_the_order_of_the_page() -> None:
    recipe = Listening()
    recipes.apply(recipe, model_of(), loader_of(24), epochs=1, device="cpu")
    assert list(dict.fromkeys(event for event, *_ in recipe.told)) == EVENTS
