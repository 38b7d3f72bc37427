"""Two ranks train as one would, and have the same weights, bit by bit."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

import recipes
from recipes import _distributed as ranks
from recipes.mlb import Mlb
from recipes.mslr import Mslr
from recipes.ogm_ge import OgmGe
from recipes.opm import Opm

from .test_distributed import as_rank
from .trainings import AudioVisual, loader_of, model_of, same, sgd, weights_of

ALIKE: dict[str, list[recipes.Recipe]] = {
    "none": [recipes.get("none")()],
    "multi_loss": [recipes.get("multi_loss")()],
    "unimodal": [recipes.get("unimodal")()],
    "ogm_ge": [OgmGe(noise=False)],
    "mlb": [Mlb()],
    "opm": [Opm(q_base=0.0)],
    "agm": [recipes.get("agm")()],
    "mmcosine": [recipes.get("mmcosine")()],
    "mslr": [Mslr(val=loader_of(3, 11), window=1)],
    "heads": [OgmGe(noise=False)],
}
NOISY = [
    *("none", "multi_loss", "unimodal", "ogm_ge", "opm", "mlb", "agm", "mod_drop", "mmcosine"),
    ["opm", "ogm_ge"],
]


def numbers_of(fit: recipes.Fit) -> dict[str, Any]:
    history = fit.history.drop_vars(["seconds", "throughput"])
    return {str(name): torch.tensor(values.values) for name, values in history.data_vars.items()}


def end_of(fit: recipes.Fit) -> dict[str, Any]:
    heads = {name: weights_of(head) for name, head in fit.heads.items()}
    return {"history": numbers_of(fit), "model": weights_of(fit.model), "heads": heads}


def alike(rank: int) -> dict[str, Any]:
    """Trainings of the same global batches, whatever the number of ranks."""
    found = {}
    for name, chosen in ALIKE.items():
        fit = recipes.apply(
            chosen,
            model_of(),
            loader_of(8 // ranks.world_size(), 40),
            val_loader=loader_of(3, 11),
            epochs=2,
            optimizer=sgd,
            accumulate=2,
            seed=1,
            device="cpu",
            readout="heads" if name == "heads" else "auto",
        )
        found[name] = end_of(fit)
    return found


def identical(rank: int) -> dict[str, Any]:
    """Trainings with noise, by processes whose random states are their own."""
    found = {}
    for chosen in NOISY:
        torch.manual_seed(100 + rank)
        fit = recipes.apply(
            chosen,
            AudioVisual(dropout=0.2, norm=True),
            loader_of(4, 40, shuffle=True),
            val_loader=loader_of(3, 11),
            epochs=1,
            optimizer=sgd,
            device="cpu",
        )
        found[str(chosen)] = end_of(fit)
    return found


class StoppedError(Exception):
    pass


def broken_off(folder: Path, rank: int) -> dict[str, Any]:
    """A training that breaks on all ranks, and one that goes on from its checkpoint."""

    def train(place: Path | None, stop: int | None = None) -> dict[str, Any]:
        done: list[int] = []

        def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            done.append(1)
            if len(done) == stop:
                raise StoppedError
            return nn.functional.cross_entropy(logits, labels)

        chosen = [Opm(lag=1), Mlb()]
        model = model_of(AudioVisual, dropout=0.2, norm=True)
        torch.manual_seed(5)
        fit = recipes.apply(
            chosen,
            model,
            loader_of(4, 40, shuffle=True),
            epochs=3,
            optimizer=sgd,
            checkpoint=place,
            checkpoint_every=2,
            loss=loss,
            device="cpu",
        )
        return end_of(fit)

    whole = train(None)
    with pytest.raises(StoppedError):
        train(folder, stop=20)
    resumed = train(folder)
    numbers = resumed.pop("history"), whole.pop("history")
    close = [bool((one - two).nan_to_num().abs().max() == 0) for one, two in zip_of(*numbers)]
    alike = same(whole["model"], resumed["model"])
    heads = all(same(whole["heads"][name], resumed["heads"][name]) for name in whole["heads"])
    return {"model": alike, "heads": heads, "history": all(close)}


def zip_of(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[Any, Any]]:
    assert one.keys() == other.keys()
    return [(one[name], other[name]) for name in one]


def by_hand(rank: int) -> dict[str, Any]:
    """A loop of one's own around a model in DDP."""
    loader = loader_of(8, 40)
    model = DistributedDataParallel(model_of())
    optimizer = sgd(model.parameters())
    batch = next(iter(loader))
    with recipes.attach("ogm_ge", model, tuple(batch[:2]), seed=4) as remedy:
        for audio, visual, labels in loader:
            half = slice(rank, None, 2)
            (audio, visual), labels = remedy.batch((audio[half], visual[half]), labels[half])
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(audio, visual), labels)
            remedy.loss(loss).backward()
            remedy.gradients(optimizer)
            optimizer.step()
        history = remedy.history.dataset({})
    return {
        "model": weights_of(model.module),
        "ratio": torch.tensor(history["step_ratio"].values),
        "examples": len(loader),
    }


def sharded(rank: int) -> dict[str, Any]:
    """A loop of one's own around a model whose parameters are spread over the ranks."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    from .trainings import Listening

    loader = loader_of(8, 24)
    batch = next(iter(loader))
    given = {"audio": batch[0][rank::2], "visual": batch[1][rank::2]}
    found: dict[str, Any] = {}
    for name, factor in (("plain", 0.0), ("slowed", 0.8)):
        model = model_of()
        for part in (model.get_submodule("audio"), model.get_submodule("visual"), model):
            fully_shard(part)
        assert any(isinstance(p, DTensor) for p in model.parameters())
        optimizer = sgd(model.parameters(), momentum=0)
        listener = Listening()
        chosen = [OgmGe(noise=False, alpha=factor), listener]
        with recipes.attach(chosen, model, given) as remedy:
            inputs, labels = remedy.batch(given, batch[2][rank::2])
            loss = nn.functional.cross_entropy(model(**inputs), labels)
            remedy.loss(loss).backward()
            remedy.gradients(optimizer)
            gradients = {
                path: p.grad.full_tensor()
                for path, p in model.named_parameters()
                if isinstance(p.grad, DTensor)
            }
            optimizer.step()
            history = remedy.history.dataset({})
        found[name] = {
            "gradients": gradients,
            "coefficient": torch.tensor(history["step_coefficient"].values[0]),
        }
    return found


def started_ranks(folder: Path, parts: list[Any]) -> list[dict[str, Any]]:
    store = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # pyright: ignore[reportPrivateImportUsage]
    port = store.port
    del store
    (folder / "port").write_text(str(port))
    multiprocessing.start_processes(as_rank, args=(parts, folder), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


class Named(partial):
    """A part of the work with its name."""

    @property
    def __name__(self) -> str:
        return self.func.__name__


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    parts = [alike, identical, Named(broken_off, folder / "run"), by_hand, sharded]
    return started_ranks(folder, parts)


def test_two_ranks_train_as_one(answers) -> None:
    one = alike(0)
    for name, end in one.items():
        other = answers[0]["alike"][name]
        assert end["history"].keys() == other["history"].keys()
        for variable, values in end["history"].items():
            torch.testing.assert_close(
                other["history"][variable], values, rtol=1e-5, atol=1e-5, equal_nan=True,
                msg=lambda text, name=name, variable=variable: f"{name} {variable}: {text}",
            )  # fmt: skip
        for weights in ("model", "heads"):
            torch.testing.assert_close(other[weights], end[weights], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", ["alike", "identical"])
def test_all_ranks_have_the_same_weights_and_history(answers, part: str) -> None:
    first, second = (answer[part] for answer in answers)
    assert first.keys() == second.keys()
    for name in first:
        assert same(first[name]["model"], second[name]["model"]) or part == "identical", name
        for path, tensor in first[name]["model"].items():
            buffers = "running" in path  # each rank's own, as in any DDP training
            assert buffers or torch.equal(tensor, second[name]["model"][path]), (name, path)
        for head, weights in first[name]["heads"].items():
            assert same(weights, second[name]["heads"][head]), (name, head)
        for variable, values in first[name]["history"].items():
            other = second[name]["history"][variable]
            assert torch.equal(values.nan_to_num(), other.nan_to_num()), (name, variable)


def test_a_training_of_two_ranks_resumes_to_the_same_end(answers) -> None:
    for answer in answers:
        assert answer["broken_off"] == {"model": True, "heads": True, "history": True}


def test_a_model_in_ddp_can_be_trained_by_hand(answers) -> None:
    first, second = (answer["by_hand"] for answer in answers)
    assert same(first["model"], second["model"])
    assert torch.equal(first["ratio"], second["ratio"])


def test_gradients_spread_over_ranks_are_scaled(answers) -> None:
    for answer in answers:
        plain, slowed = answer["sharded"]["plain"], answer["sharded"]["slowed"]
        for place, name in enumerate(("audio", "visual")):
            factor = slowed["coefficient"][place]
            for path, gradient in plain["gradients"].items():
                if path.startswith(name):
                    torch.testing.assert_close(slowed["gradients"][path], gradient * factor.float())
        assert (slowed["coefficient"] < 1).any()
