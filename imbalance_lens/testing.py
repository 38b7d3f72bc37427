"""Helpers for tests of models, probes and recipes: planted models and checks that fail loudly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from . import checks


class PlantedModel(nn.Module):
    """Late fusion of one linear encoder per modality, with a linear head over the concatenation.

    Untrained: every encoder passes its input on, and the head adds the modalities' class scores.
    """

    def __init__(self, modalities: Sequence[str], classes: int) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        for name in modalities:
            encoder = nn.Linear(classes, classes)
            nn.init.eye_(encoder.weight)
            nn.init.zeros_(encoder.bias)
            self.add_module(name, encoder)
        self.head = nn.Linear(classes * len(modalities), classes)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(classes).repeat(1, len(modalities)))
            self.head.bias.zero_()

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return logits (batch, classes) from one (batch, classes) input per modality."""
        features = [self.get_submodule(name)(inputs[name]) for name in self.modalities]
        return self.head(torch.cat(features, dim=1))


class PlantedData(Dataset):
    """Examples whose class shows in every modality, more clearly in one than in the others."""

    def __init__(
        self,
        signal: Mapping[str, float],
        *,
        examples: int = 256,
        classes: int = 4,
        seed: int = 0,
    ) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(examples) % classes
        shown = nn.functional.one_hot(self.labels, classes).float()
        self.inputs = {
            name: strength * shown + torch.randn(examples, classes, generator=draw)
            for name, strength in signal.items()
        }

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], Tensor]:
        return {name: values[index] for name, values in self.inputs.items()}, self.labels[index]


def planted(
    dominant: str | None,
    modalities: Sequence[str] = ("audio", "visual"),
    *,
    strong: float = 4.0,
    weak: float = 0.5,
    examples: int = 256,
    classes: int = 4,
    batch_size: int = 32,
    seed: int = 0,
) -> tuple[PlantedModel, DataLoader]:
    """Return a model and data in which one modality is known to dominate.

    Args:
        dominant: the modality with the clear signal; None gives all the same, strong one.
        modalities: all of them.
        strong: height of the clear signal above noise of standard deviation 1.
        weak: height of the others' signal.
        examples: number of examples, spread evenly over the classes.
        classes: number of classes.
        batch_size: examples per batch.
        seed: of the noise; the global random state is not touched.

    Raises:
        UnknownNameError: `dominant` is no modality.

    Example:
        >>> model, loader = planted("visual")
        >>> inputs, labels = next(iter(loader))
        >>> model(**inputs).shape
        torch.Size([32, 4])
    """
    if dominant is not None:
        checks.known_modality(dominant, modalities)
    signal = {name: strong if dominant in (None, name) else weak for name in modalities}
    data = PlantedData(signal, examples=examples, classes=classes, seed=seed)
    state = torch.random.get_rng_state()
    model = PlantedModel(modalities, classes)
    torch.random.set_rng_state(state)
    return model, DataLoader(data, batch_size, collate_fn=default_collate)


@contextmanager
def assert_passive(model: nn.Module) -> Iterator[None]:
    """Assert that the block leaves a model bit-identical, also when it raises.

    Compared: parameters, gradients and buffers (values, NaN included, and identity), train/eval
    flags, `requires_grad`, every hook, instance attributes, and the CPU's and CUDA's random state.

    Raises:
        AssertionError: something is different; the message lists what.
    """
    before = _state(model)
    try:
        yield
    finally:
        after = _state(model)
        changed = [key for key in before.keys() | after.keys() if _differ(before, after, key)]
        if changed:
            raise AssertionError(f"The block changed: {', '.join(sorted(changed))}.")


def assert_recipe_contract(
    name: str,
    *,
    neutral: Mapping[str, Any] | None = None,
    baseline: str = "none",
    modalities: Sequence[str] = ("audio", "visual"),
    trial: Callable[[], tuple[nn.Module, Iterable[Any]]] | None = None,
    **settings: Any,
) -> None:
    """Assert that a recipe keeps what every recipe promises, on a planted model.

    It trains; the same seed gives the same training; broken off and resumed, a training ends as
    one that was not, bit by bit; no hook and no patch is left, also after an error in the middle;
    the card's events are those that the recipe has; and what it changes is what its card says:
    a recipe for encoder gradients, say, changes no gradient of fusion and head.

    Args:
        name: of the recipe; make yours known with `recipes.add` before.
        neutral: settings with which it changes nothing, and so equals the baseline bit by bit;
            None: there are none.
        baseline: the recipe that it then equals.
        modalities: of the planted model.
        trial: gives a model and its data, the same at each call and with inputs by name, for a
            recipe that needs what the planted model does not have.
        settings: of the recipe.

    Raises:
        AssertionError: a promise is broken; the message lists all that are.

    Example:
        >>> assert_recipe_contract("ogm_ge", neutral={"alpha": 0.0, "noise": False})
    """
    from recipes._contract import Contract

    def drawn() -> tuple[PlantedModel, DataLoader]:
        return planted(modalities[0], modalities, examples=64, batch_size=16)

    broken = list(Contract(trial or drawn, name, settings).breaches(neutral, baseline))
    if broken:
        raise AssertionError(f"{name!r} breaks its contract: {'; '.join(broken)}.")


def _state(model: nn.Module) -> dict[str, Any]:
    state: dict[str, Any] = {"random state": torch.random.get_rng_state()}
    if torch.cuda.is_initialized():
        for device, random in enumerate(torch.cuda.get_rng_state_all()):
            state[f"random state of cuda:{device}"] = random
    for path, module in model.named_modules():
        state[f"{path}.training"] = module.training
        state[f"{path} attributes"] = sorted(vars(module))
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            state[f"{path}.{kind}"] = list(vars(module)[kind].values())
    for path, parameter in model.named_parameters():
        state[f"{path}.requires_grad"] = parameter.requires_grad
        state[f"{path}.grad"] = _copy(parameter.grad)
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        state[path] = _copy(tensor)
        state[f"{path} (identity)"] = id(tensor)
    return state


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _differ(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> bool:
    if key not in before or key not in after:
        return True
    old, new = before[key], after[key]
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        return not _same_bits(old, new)
    return old != new


def _same_bits(old: Tensor, new: Tensor) -> bool:
    if old.dtype != new.dtype or old.shape != new.shape:
        return False
    bits = [t.cpu().reshape(-1).view(torch.uint8) for t in (old, new)]  # NaN equals NaN here
    return torch.equal(*bits)
