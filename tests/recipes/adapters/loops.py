"""The same training in loops of four kinds."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recipes
from tests.recipes.trainings import AudioVisual, loader_of, model_of, sgd, weights_of

EPOCHS = 2
SEED = 3
BATCHES = 4
"""So that each pair of them is a step where two are accumulated, as all loops then weigh alike."""


def heads_of() -> dict[str, nn.Module]:
    """Unimodal heads that are the same for each loop."""
    torch.manual_seed(1)
    return {name: nn.Linear(8, 3) for name in ("audio", "visual")}


def prepared(**settings: Any) -> tuple[AudioVisual, dict[str, nn.Module] | None]:
    wants_heads = settings.pop("heads", False)
    return model_of(), heads_of() if wants_heads else None


def bundled(recipe: Any, *, accumulate: int = 1, heads: bool = False, **settings: Any) -> Any:
    model, own = prepared(heads=heads)
    recipes.apply(
        recipe,
        model,
        loader_of(24 // BATCHES),
        epochs=EPOCHS,
        optimizer=sgd,
        heads=own,
        accumulate=accumulate,
        seed=SEED,
        device="cpu",
        **settings,
    )
    return weights_of(model)


def hand_written(recipe: Any, *, accumulate: int = 1, heads: bool = False, **settings: Any) -> Any:
    model, own = prepared(heads=heads)
    loader = loader_of(24 // BATCHES)
    first, _ = split(next(iter(loader)))
    with seeded(), recipes.attach(recipe, model, first, heads=own, seed=SEED, **settings) as remedy:
        optimizer = sgd([*model.parameters(), *remedy.parameters()])
        for _ in range(EPOCHS):
            for number, batch in enumerate(loader, 1):
                inputs, labels = remedy.batch(*split(batch))
                loss = remedy.loss(cross_entropy(model(*inputs), labels))
                (loss / accumulate).backward()
                if number % accumulate == 0 or number == len(loader):
                    remedy.gradients(optimizer)
                    optimizer.step()
                    optimizer.zero_grad()
            remedy.close_epoch()
    return weights_of(model)


def accelerated(recipe: Any, *, accumulate: int = 1, heads: bool = False, **settings: Any) -> Any:
    from accelerate import Accelerator

    model, own = prepared(heads=heads)
    inner = model
    loader = loader_of(24 // BATCHES)
    first, _ = split(next(iter(loader)))
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    with seeded(), recipes.attach(recipe, model, first, heads=own, seed=SEED, **settings) as remedy:
        optimizer = sgd([*model.parameters(), *remedy.parameters()])
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for _ in range(EPOCHS):
            for batch in loader:
                with accelerator.accumulate(model):
                    inputs, labels = remedy.batch(*split(batch))
                    loss = remedy.loss(cross_entropy(model(*inputs), labels))
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        remedy.gradients(optimizer)
                    optimizer.step()
                    optimizer.zero_grad()
            remedy.close_epoch()
    return weights_of(inner)


def in_lightning(
    recipe: Any,
    *,
    accumulate: int = 1,
    heads: bool = False,
    library: str = "lightning.pytorch",
    **settings: Any,
) -> dict[str, Tensor]:
    from recipes.adapters.lightning import RecipeCallback

    model, own = prepared(heads=heads)
    module = lightning_module(library)(model)
    first, _ = split(next(iter(loader_of(24 // BATCHES))))
    callback = RecipeCallback(recipe, model="model", inputs=first, heads=own, seed=SEED, **settings)
    with seeded():
        fit(module, callback, library=library, accumulate_grad_batches=accumulate)
    return weights_of(model)


LOOPS: dict[str, Callable[..., dict[str, Tensor]]] = {
    "hand-written": hand_written,
    "accelerate": accelerated,
    "lightning": in_lightning,
}


@contextmanager
def seeded() -> Iterator[None]:
    """What a seed does in the bundled loop."""
    from recipes._training.seeds import seeded as with_seed

    with with_seed(SEED):
        yield


def split(batch: Any) -> tuple[tuple[Tensor, ...], Tensor]:
    *inputs, labels = batch
    return tuple(inputs), labels


def lightning_module(library: str = "lightning.pytorch") -> Any:
    """The class of a LightningModule around a model."""
    import importlib

    base = importlib.import_module(library).LightningModule

    class Module(base):  # type: ignore[misc, valid-type]
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return self.model(audio, visual)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            (audio, visual), labels = split(batch)
            return cross_entropy(self(audio, visual), labels)

        def configure_optimizers(self) -> Any:
            return sgd(self.parameters())

    return Module


def fit(
    module: Any,
    *callbacks: Any,
    library: str = "lightning.pytorch",
    loader: Any = None,
    folder: Path | None = None,
    checkpoint: Path | None = None,
    **settings: Any,
) -> Any:
    """Train with Lightning, quietly, and return the trainer."""
    import importlib

    given = {
        "max_epochs": EPOCHS,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        **settings,
    }
    with quiet():
        trainer = importlib.import_module(library).Trainer(callbacks=list(callbacks), **given)
        trainer.fit(module, loader or loader_of(24 // BATCHES), ckpt_path=checkpoint)
    return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out Lightning's own warnings: its advice on workers, and what torch deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", module="recipes|imbalance_lens")
        yield


def left_over(model: nn.Module) -> list[str]:
    """What is patched or hooked in a model."""
    found = []
    for path, part in model.named_modules():
        found += [f"{path}.{name}" for name in ("forward", "training_step") if name in vars(part)]
        found += [f"{path} hook"] * (len(part._forward_hooks) + len(part._forward_pre_hooks))
    return found
