"""Things of a wrong kind, given where a model or a file is meant, are named and nothing is run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import imbalance_lens as lens
import recipes
from imbalance_lens.checkpoints import load_weights
from imbalance_lens.errors import SettingError
from imbalance_lens.filters import scan_filters
from imbalance_lens.maps import feature_maps

WHO = {"audio": "audio", "visual": "visual"}
ASKS = {
    "diagnose": lambda model: lens.diagnose(model, []),
    "find_anatomy": lambda model: lens.find_anatomy(model, torch.ones(2, 3)),
    "Lens": lambda model: lens.Lens(model, WHO, ["zero_out"]),
    "compare_checkpoints": lambda model: lens.compare_checkpoints(model, [model] * 2, [], []),
    "attribute_inputs": lambda model: lens.attribute_inputs(model, torch.ones(2, 3), [0, 1]),
    "feature_maps": lambda model: feature_maps(model, torch.ones(2, 3), "relu"),
    "apply": lambda model: recipes.apply("none", model, [], epochs=1),
    "attach": lambda model: recipes.attach("none", model, torch.ones(2, 3)),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("run.pt", "model must be a torch.nn.Module; got 'run.pt'"),
        (None, "model must be a torch.nn.Module; got None"),
        (nn.Linear, "model is a class, Linear. Make one"),
    ],
    ids=["text", "nothing", "class"],
)
def test_what_is_no_model_is_named(ask: Any, model: Any, said: str):
    with pytest.raises(SettingError, match=said):
        ask(model)


@pytest.mark.parametrize("weights", [None, 3, ["run.pt"], {1: torch.ones(2)}], ids=repr)
def test_what_holds_no_weights_is_named(weights: Any):
    with pytest.raises(SettingError, match="weights must be a checkpoint file, a state_dict"):
        scan_filters(weights)


@pytest.mark.parametrize("read", [load_weights, lens.scan_checkpoint])
@pytest.mark.parametrize("path", [None, 3, {"weight": torch.ones(2)}], ids=["None", "3", "dict"])
def test_what_is_no_path_is_named(read: Any, path: Any, tmp_path: Path):
    with pytest.raises(SettingError, match="path must be the path of a file"):
        read(path)
