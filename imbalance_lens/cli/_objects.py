"""From `package.module:name` to the user's model and data."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import SettingError
from ..registry import unknown

if TYPE_CHECKING:
    from torch import nn


def model_from(written: str) -> nn.Module:
    """Return the model.

    Raises:
        SettingError: the module is missing, or what it holds gives no model.
        UnknownNameError: the module has nothing of that name.
    """
    from torch import nn

    found = _imported(written)
    model = found if isinstance(found, nn.Module) else _called(written, found)
    if not isinstance(model, nn.Module):
        raise SettingError(
            f"{written} gave {_a(model)}, not a torch.nn.Module. Let it return the model."
        )
    return model


def loader_from(written: str) -> Iterable[Any]:
    """Return the loader.

    Raises:
        SettingError: the module is missing, or what it holds gives nothing to go through.
        UnknownNameError: the module has nothing of that name.
    """
    found = _imported(written)
    loader = found if isinstance(found, Iterable) else _called(written, found)
    if not isinstance(loader, Iterable):
        raise SettingError(
            f"{written} gave {_a(loader)}, not an iterable of batches. Let it return a DataLoader."
        )
    return loader


def loaders_from(written: str) -> tuple[Iterable[Any], Iterable[Any] | None]:
    """Return the loader of training examples, and that of validation examples where there is one.

    Raises:
        SettingError: the module is missing, or what it holds gives something else.
        UnknownNameError: the module has nothing of that name.
    """
    given = loader_from(written)
    if isinstance(given, Mapping):
        unknown_keys = sorted(str(key) for key in given.keys() - {"train", "val"})
        if "train" not in given or unknown_keys:
            keys = ", ".join(map(repr, given)) or "nothing"
            raise SettingError(
                f"{written} gave a mapping with {keys}. Let it have 'train' and, for held-out "
                "examples, 'val'."
            )
        loaders = (given["train"], given.get("val"))
    elif isinstance(given, tuple):
        if len(given) != 2:
            raise SettingError(
                f"{written} gave a tuple of {len(given)}. Let it return one loader, or two: "
                "(train, val)."
            )
        loaders = given
    else:
        loaders = (given, None)
    return loaders


def split_data_from(written: str) -> Any:
    """Return what `recipes.compare` takes as loaders: a mapping, or a function of the seed.

    Raises:
        SettingError: the module is missing.
        UnknownNameError: the module has nothing of that name.
    """
    found = _imported(written)
    if not callable(found):
        return found
    required = [
        parameter
        for parameter in inspect.signature(found).parameters.values()
        if parameter.default is parameter.empty and parameter.kind in _BY_POSITION
    ]
    return found if len(required) == 1 else _called(written, found)


def function_from(written: str) -> Callable[..., Any]:
    """Return a function of arguments that are given later.

    Raises:
        SettingError: the module is missing, or holds no function there.
        UnknownNameError: the module has nothing of that name.
    """
    found = _imported(written)
    if not callable(found):
        raise SettingError(f"{written} is {_a(found)}. Name a function.")
    return found


def on_device(model: nn.Module, device: str) -> None:
    """Move the model.

    Raises:
        SettingError: there is no such device here.
    """
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"The device {device!r} cannot be used: {reason}") from error


def _imported(written: str) -> Any:
    module_name, _, name = written.partition(":")
    module = _module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        own = [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", module_name) == module_name
        ]
        raise unknown(f"object in {module_name}", name, own) from None


def _module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # `python -m` puts it there, an installed command does not
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and imports one that is not
        raise SettingError(
            f"There is no module {error.name!r}, neither installed nor in {here}. "
            "Run the command in the folder that holds it."
        ) from error


def _called(written: str, found: Any) -> Any:
    if not callable(found):
        raise SettingError(f"{written} is {_a(found)}. Name a function without arguments.")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise SettingError(
            f"{written} cannot be called without arguments ({error}). Name a function that can."
        ) from error
    return found()


def _a(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
