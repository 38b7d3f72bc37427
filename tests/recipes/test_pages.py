"""Every recipe's page does as it says: its code is run, and it names every setting."""

import dataclasses
import re

import pytest

import recipes
from recipes._base import Recipe, acts_on
from tests.documents import REPOSITORY, blocks

FOLDER = REPOSITORY / "docs" / "recipes"


@pytest.mark.parametrize("name", [*recipes.names(), "index"])
def test_the_code_of_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = [b.text for b in blocks(f"docs/recipes/{name}.md") if b.language == "python"]
    assert codes
    known: dict = {"__name__": "__main__"}
    for code in codes:
        exec(compile(code, name, "exec"), known)


@pytest.mark.parametrize("name", recipes.names())
def test_a_page_names_every_setting_and_its_default(name):
    page = (FOLDER / f"{name}.md").read_text()
    own = [f for f in dataclasses.fields(recipes.get(name)) if f.init]
    shared = {f.name for f in dataclasses.fields(Recipe)}
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", page.partition("## Settings")[2], re.M)
    told = {tuple(re.findall(r"`(\w+)`", names)): default.strip() for names, default in rows}
    named = {setting for names in told for setting in names}
    assert named == ({f.name for f in own} if {f.name for f in own} > shared else set())
    for setting in own:
        if setting.name in named - shared:
            default = told[(setting.name,)].strip("`")
            assert setting.default == eval(default), setting.name


@pytest.mark.parametrize("name", recipes.names())
def test_a_card_names_the_events_that_act(name):
    recipe = recipes.get(name)
    events = [event for event in vars(Recipe) if event.startswith("on_")]
    made = recipe()
    assert set(recipe.card.events) == {event for event in events if acts_on(made, event)}
