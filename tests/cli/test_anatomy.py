"""`imbalance-lens anatomy`."""

import json
from pathlib import Path

from imbalance_lens import explain, find_anatomy
from imbalance_lens.testing import planted

from .conftest import Ask

MINE = ("anatomy", "--model", "mine:build", "--data", "mine:data")


def test_it_prints_what_explain_says(ask: Ask, project: Path):
    model, loader = planted("audio")
    inputs, _ = next(iter(loader))
    assert ask(*MINE).out == f"{explain(find_anatomy(model, inputs), model)}\n"


def test_json_names_every_part(ask: Ask, project: Path):
    said = ask(*MINE, "--json")
    answer = json.loads(said.out)
    assert answer["encoders"] == {"audio": "audio", "visual": "visual"}
    assert answer["head"] == "head"
    assert answer["sites"] == {"audio": ["audio"], "visual": ["visual"]}
    assert answer["evidence"]["head"].startswith("found: ")


def test_a_model_of_one_input(ask: Ask, project: Path):
    (project / "single.py").write_text(
        "import torch\n"
        "def build(): return torch.nn.Linear(3, 2)\n"
        "data = [(torch.ones(4, 3), torch.zeros(4, dtype=torch.long))]\n"
    )
    said = ask("anatomy", "--model", "single:build", "--data", "single:data")
    assert "Pass anatomy=Anatomy(encoders={" in said.sentence()


def test_data_without_a_batch(ask: Ask, project: Path):
    (project / "empty.py").write_text("data = []\n")
    said = ask("anatomy", "--model", "mine:build", "--data", "empty:data")
    assert "gave no batch" in said.sentence()
