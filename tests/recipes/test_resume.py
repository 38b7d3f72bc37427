"""An interrupted training goes on to the very end that it would have had."""

from pathlib import Path
from typing import Any

import pytest
import torch

import recipes
from imbalance_lens.errors import CheckpointError

from .resumed import EPOCHS, equal, killed_until_done, trained
from .trainings import loader_of, model_of, same, sgd, weights_of


class StoppedError(Exception):
    pass


def interrupted(
    monkeypatch: pytest.MonkeyPatch, at: int, kind: str, folder: Path, **settings: Any
) -> None:
    """Train up to a step, in the middle of which everything breaks."""
    steps = 0
    step = torch.optim.SGD.step

    def breaking(self: Any, closure: Any = None) -> Any:
        nonlocal steps
        steps += 1
        if steps == at:
            raise StoppedError
        return step(self, closure)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", breaking)
        with pytest.raises(StoppedError):
            trained(kind, folder, **settings)


@pytest.mark.parametrize("kind", ["ogm_ge", "mlb"])
def test_a_training_that_breaks_at_any_step_resumes_to_the_same_end(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(kind, None, epochs=2)
    for at in range(1, 17, 1 if kind == "ogm_ge" else 4):
        folder = tmp_path / f"{at}"
        interrupted(monkeypatch, at, kind, folder, epochs=2)
        assert equal(trained(kind, folder, epochs=2), whole), f"interrupted at step {at}"


def test_a_training_that_breaks_in_every_second_step_gets_there(tmp_path, monkeypatch) -> None:
    whole = trained("ogm_ge", None)
    times = 0
    while True:
        try:
            interrupted(monkeypatch, 4, "ogm_ge", tmp_path / "run")
        except pytest.fail.Exception:  # it came to its end
            break
        times += 1
    assert times > 3 * EPOCHS
    assert equal(trained("ogm_ge", tmp_path / "run"), whole)


def test_a_killed_training_resumes_to_the_same_end(tmp_path: Path) -> None:
    assert killed_until_done("mlb", tmp_path, kills=2, seed=1) == 2
    assert equal(torch.load(tmp_path / "end.pt"), trained("mlb", None))


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    first = trained("ogm_ge", tmp_path / "run")
    assert equal(trained("ogm_ge", tmp_path / "run"), first)
    longer = trained("ogm_ge", tmp_path / "run", epochs=EPOCHS + 1)
    assert equal(longer, trained("ogm_ge", None, epochs=EPOCHS + 1))


def test_a_training_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    *inputs, labels = loader_of(24).dataset[:]  # pyright: ignore[reportIndexIssue]
    wrong = [(*inputs, (labels + 1) % 3)]
    given: dict[str, Any] = {
        "val_loader": wrong, "epochs": 9, "patience": 1, "optimizer": sgd, "device": "cpu",
        "checkpoint": tmp_path / "run",
    }  # fmt: skip
    first = recipes.apply("none", model_of(), loader_of(), **given)
    again = recipes.apply("none", model_of(seed=5), loader_of(), **given)
    assert first.history.sizes["epoch"] == again.history.sizes["epoch"] < 9
    assert same(weights_of(first.model), weights_of(again.model))
    assert first.best_epoch == again.best_epoch
    (tmp_path / "run" / "best.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights of the best epoch"):
        recipes.apply("none", model_of(), loader_of(), **given)


def test_damage_is_an_error_and_the_checkpoint_before_it_helps(tmp_path, monkeypatch) -> None:
    whole = trained("ogm_ge", None)
    folder = tmp_path / "run"
    interrupted(monkeypatch, 15, "ogm_ge", folder)
    newest = max(folder.glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    model = model_of()
    before = weights_of(model)
    with pytest.raises(CheckpointError, match='resume="previous"'):
        trained("ogm_ge", folder)
    assert same(weights_of(model), before)
    assert equal(trained("ogm_ge", folder, resume="previous"), whole)
    assert equal(trained("ogm_ge", folder), whole)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = {"epochs": 1, "checkpoint": tmp_path / "run", "device": "cpu"}
    recipes.apply("ogm_ge", model_of(), loader_of(), **given)
    with pytest.raises(CheckpointError, match=r"recipes was .*'alpha': 0.8.* and is .*0.5"):
        recipes.apply("ogm_ge", model_of(), loader_of(), alpha=0.5, **given)
    with pytest.raises(CheckpointError, match="optimizer was 'SGD' and is 'Adagrad'"):
        recipes.apply(
            "ogm_ge", model_of(), loader_of(), optimizer=torch.optim.Adagrad,
            **given,
        )  # fmt: skip
    fresh = recipes.apply("ogm_ge", model_of(), loader_of(), alpha=0.5, resume=False, **given)
    assert fresh.history.sizes["step"] == 3


def test_another_scheduler_or_order_of_recipes_is_another_training(tmp_path: Path) -> None:
    given: dict[str, Any] = {"epochs": 1, "checkpoint": tmp_path / "run", "device": "cpu"}
    recipes.apply(["opm", "ogm_ge"], model_of(), loader_of(), **given)
    linear = torch.optim.lr_scheduler.LinearLR
    with pytest.raises(CheckpointError, match="scheduler was None and is 'LinearLR'"):
        recipes.apply(["opm", "ogm_ge"], model_of(), loader_of(), scheduler=linear, **given)
    with pytest.raises(CheckpointError, match=r"order was \['opm', 'ogm_ge'\] and is"):
        recipes.apply(["ogm_ge", "opm"], model_of(), loader_of(), **given)


def test_a_log_that_raises_costs_nothing_of_its_epoch(tmp_path: Path) -> None:
    def broken(numbers: dict[str, float], step: int) -> None:
        raise StoppedError

    folder = tmp_path / "run"
    with pytest.raises(StoppedError):
        recipes.apply(
            "none", model_of(), loader_of(), epochs=2, checkpoint=folder, device="cpu", log=broken
        )
    assert sorted(path.name for path in folder.glob("*.pt")) == ["000001.pt"]
