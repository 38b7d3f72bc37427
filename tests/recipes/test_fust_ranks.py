"""FusT on two ranks: the same weights on both, every example measured once, and resumed alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn

import recipes
from recipes.fust import FusT

from .resumed import equal
from .test_distributed import as_rank
from .trainings import AudioVisual, loader_of, model_of, sgd, weights_of

FOLDER = "FUST_FOLDER"


def trained(folder: Path | None, stop: int | None = None, **settings: Any) -> dict[str, Any]:
    losses = 0

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal losses
        losses += 1
        if losses == stop:
            raise InterruptedError
        return nn.functional.cross_entropy(logits, labels)

    recipe = FusT(unimodal_epochs={"audio": 1, "visual": 2}, threshold=0.0, **settings)
    model = model_of(AudioVisual, dropout=0.2)
    torch.manual_seed(5 + distributed.get_rank())
    with pytest.warns(UserWarning, match="single epoch"):
        fit = recipes.apply(
            recipe,
            model,
            loader_of(4, 25, shuffle=True),
            epochs=4,
            optimizer=sgd,
            loss=loss,
            checkpoint=folder,
            checkpoint_every=1,
            device="cpu",
        )
    found = {n: torch.tensor(v.values) for n, v in recipe.measured().data_vars.items()}
    ratios = torch.tensor(fit.history["mask_ratio"].values)
    return {"model": weights_of(fit.model), "found": found, "ratios": ratios}


def whole(rank: int) -> dict[str, Any]:
    return trained(None)


def resumed(rank: int) -> dict[str, Any]:
    """Trainings with confidences of the training passes, one of them broken off and resumed."""
    import os

    folder = Path(os.environ[FOLDER]) / "run"
    through = trained(None, online=True)
    with pytest.raises(InterruptedError):
        trained(folder, stop=15, online=True)
    return {"alike": equal(trained(folder, online=True), through)}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    store = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    (folder / "port").write_text(str(store.port))
    del store
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))
        parts = [whole, resumed]
        multiprocessing.start_processes(
            as_rank, args=(parts, folder), nprocs=2, start_method="spawn"
        )
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_both_ranks_end_with_the_same_weights_and_confidences(answers) -> None:
    assert equal(answers[0]["whole"], answers[1]["whole"])


def test_every_example_is_measured_once_per_epoch(answers) -> None:
    found = answers[0]["whole"]["found"]
    assert found["epochs"].tolist() == [[1] * 25, [2] * 25]
    assert not found["confidence"].isnan().any()
    assert (answers[0]["whole"]["ratios"][2:] > 0).any()


def test_an_interrupted_training_with_confidences_of_passes_resumes_on_all_ranks(answers) -> None:
    assert [answer["resumed"]["alike"] for answer in answers] == [True, True]
