"""Weights from files, without running what a file may hold besides them."""

from __future__ import annotations

import copy
import os
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from . import checks
from .errors import CheckpointError

WEIGHTS_KEYS = ("state_dict", "model_state_dict", "model", "net")
"""Where a checkpoint usually keeps its weights, beside the optimizer's state and the rest."""


def load_weights(path: str | os.PathLike[str], *, trust: bool = False) -> dict[str, Tensor]:
    """Return the weights in a checkpoint, by name, on the CPU, in the precision they have.

    The content says what kind of file it is, not its name: what `torch.save` writes (old and new
    format) or safetensors. The weights are the state_dict itself, or the one dictionary of
    tensors inside the checkpoint, at most two levels deep; the keys in `WEIGHTS_KEYS` come
    first. The names lose what DDP and DataParallel (`module.` in front) and torch.compile
    (`_orig_mod.` anywhere) put into them.

    Args:
        path: the file.
        trust: also unpickle arbitrary Python objects, which can run any code. Only for files
            whose maker you trust.

    Returns:
        Name -> tensor, in the order of the file.

    Raises:
        CheckpointError: there is no such file, it is damaged or no checkpoint, it holds objects
            that are not trusted, or it is not clear which of its entries are the weights.
        SettingError: what is given is no path.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "run.pt"
        ...     torch.save({"epoch": 3, "state_dict": {"module.bias": torch.ones(2)}}, file)
        ...     load_weights(file)
        {'bias': tensor([1., 1.])}
    """
    checks.file("path", path)
    file = Path(path)
    weights = _weights_in(_content(file, trust=trust), file)
    names = _unwrapped(weights)
    return {names[name]: tensor.detach() for name, tensor in weights.items()}


def load_into(
    model: nn.Module, path: str | os.PathLike[str], *, strict: bool = True, trust: bool = False
) -> None:
    """Load a checkpoint into a model, or leave the model as it was and say what does not fit.

    Names are compared without what wrappers put into them, on both sides. A prefix that all
    names in the file share, as Lightning's `model.`, is taken off if all of them fit then.

    Args:
        model: the model; it may be wrapped.
        path: the file, of any kind that `load_weights` reads.
        strict: whether each name has to be on both sides. Shapes have to agree in any case, and
            at least one name.
        trust: as for `load_weights`.

    Raises:
        CheckpointError: the file cannot be read, or it does not fit the model.

    Example:
        >>> import tempfile
        >>> layer = nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "run.pt"
        ...     torch.save({"model.weight": torch.ones(1, 2), "model.bias": torch.ones(1)}, file)
        ...     load_into(layer, file)
        >>> layer.bias
        Parameter containing:
        tensor([1.], requires_grad=True)
    """
    weights = load_weights(path, trust=trust)
    state = model.state_dict()
    names = {plain: name for name, plain in _unwrapped(state).items()}
    options = [weights, *(_cut(weights, prefix) for prefix in _shared_prefixes(weights))]
    weights = next((option for option in options if option.keys() <= names.keys()), weights)
    before = copy.deepcopy(state)
    given = {names.get(name, name): tensor for name, tensor in weights.items()}
    try:
        if not given.keys() & state.keys():
            raise RuntimeError("no name is on both sides")
        model.load_state_dict(given, strict=strict)
    except RuntimeError as error:
        model.load_state_dict(before)  # PyTorch loads what fits before it complains
        wanted = {plain: state[name] for plain, name in names.items()}
        raise CheckpointError(_misfit(Path(path), weights, wanted, error)) from error


def _content(file: Path, *, trust: bool) -> Any:
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder. Give the checkpoint file inside it.")
    if not file.is_file():
        raise CheckpointError(f"There is no file {file}. Check the path.")
    try:
        with file.open("rb") as opened:
            head = opened.read(9)
        if not head:
            raise CheckpointError(f"{file} is empty. Copy or save the checkpoint again.")
        if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
            return load_file(file)
        if head.startswith(b"\x80") or (head.startswith(b"PK") and _is_pickle_archive(file)):
            return _unpickled(file, trust=trust)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, SafetensorError) as error:
        raise _damaged(file, _reason(error)) from error
    raise CheckpointError(
        f"{file} is no checkpoint: neither torch.save nor safetensors writes such a file."
    )


_LONGEST_HEADER = 100_000_000
"""In bytes, of a safetensors file: its first eight bytes say it, and the header begins with {."""


def _is_pickle_archive(file: Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        entries = {name.rpartition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in entries:
        raise CheckpointError(
            f"{file} is a TorchScript archive, which is a program. "
            "Save the state_dict() of the model instead."
        )
    return "data.pkl" in entries


def _unpickled(file: Path, *, trust: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, for the makers of PyTorch
            return torch.load(file, map_location="cpu", weights_only=not trust)
    except OSError:
        raise
    except Exception as error:  # what a damaged or a foreign pickle raises has no bounds
        reason = _reason(error)
        if trust:
            raise _damaged(file, reason) from error
        refused = _refused(file, error)
        if not refused and "Unsupported operand" not in reason:  # of a newer pickle protocol
            raise _damaged(file, reason) from error
        raise CheckpointError(
            f"{file} holds Python objects besides tensors, and reading them can run code: "
            f"{', '.join(refused) or reason}. If you trust whoever made the file, pass trust=True "
            "(--trust-checkpoint on the command line)."
        ) from error


def _refused(file: Path, error: Exception) -> list[str]:
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # PyTorch lists them for its new format; for the old, the error has the first
        return re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]


def _reason(error: Exception) -> str:
    # Around its reason, PyTorch gives advice that does not apply here.
    said = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
    return said.partition(". ")[0].rstrip(". ") or type(error).__name__


def _damaged(file: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{file} is cut short, damaged, or no checkpoint ({reason}). Copy or save it again."
    )


def _weights_in(content: Any, file: Path) -> Mapping[str, Tensor]:
    if (state := _state(content)) is not None:
        return state
    outer = content if isinstance(content, Mapping) else {}
    inner = {
        f"{name}.{key}": value
        for name, entries in outer.items()
        if isinstance(entries, Mapping)
        for key, value in entries.items()
    }
    found = [
        {str(name): state for name, value in level.items() if (state := _state(value)) is not None}
        for level in (outer, inner)
    ]
    usual = [
        {name: state for name, state in level.items() if name.rpartition(".")[2] in WEIGHTS_KEYS}
        for level in found
    ]
    candidates = next((level for level in [*usual, *found] if level), {})
    if not candidates:
        held = ", ".join(f"{name} ({type(value).__name__})" for name, value in outer.items())
        raise CheckpointError(
            f"{file} holds no weights: {held[:300] or type(content).__name__}. Save a state_dict, "
            f"alone or under one of {', '.join(WEIGHTS_KEYS)}."
        )
    if len(candidates) > 1:
        raise CheckpointError(
            f"{file} holds several sets of weights: {', '.join(candidates)}. "
            "Save the one you mean in a file of its own."
        )
    return next(iter(candidates.values()))


def _state(value: Any) -> Mapping[str, Tensor] | None:
    """Return the value if it is weights; a whole model has them too."""
    if isinstance(value, nn.Module):
        value = value.state_dict()
    if not isinstance(value, Mapping) or not value:
        return None
    fits = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    return value if fits else None


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Return each name without what wrappers put into it; as it is where two would coincide."""
    plain = {name: _without_wrappers(name) for name in names}
    return plain if len(set(plain.values())) == len(plain) else {name: name for name in plain}


def _without_wrappers(name: str) -> str:
    name = name.replace("_orig_mod.", "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _shared_prefixes(names: Iterable[str]) -> list[str]:
    """Return all dotted prefixes that every name has, the short ones first."""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    return [".".join(shared[:k]) + "." for k in range(1, len(shared) + 1)]


def _cut(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


def _misfit(
    file: Path, weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], error: Exception
) -> str:
    # Checkpoints from before PyTorch 0.4.1 have no such counters, and PyTorch fills them in.
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    lines = {
        "only in the model": _grouped(name for name in needed if name not in weights),
        "only in the file": _grouped(name for name in weights if name not in wanted),
        "of another shape": [
            f"{name} is {tuple(tensor.shape)} in the file and {tuple(wanted[name].shape)} here"
            for name, tensor in weights.items()
            if name in wanted and tensor.shape != wanted[name].shape
        ],
    }
    report = [f"{file} does not fit the model."]
    for title, items in lines.items():
        more = f", and {len(items) - 5} more" if len(items) > 5 else ""
        report += [f"  {title}: {', '.join(items[:5])}{more}"] if items else []
    if len(report) == 1:
        report.append(f"  {error}")
    for prefix in _shared_prefixes(weights):
        fitting = len(_cut(weights, prefix).keys() & wanted.keys())
        if fitting:
            report.append(
                f"  Every name in the file begins with {prefix!r}; without it {fitting} of "
                f"{len(weights)} are names of the model."
            )
    return "\n".join(report)


def _grouped(names: Iterable[str]) -> list[str]:
    """Sum up names of the same top module."""
    groups = [list(group) for _, group in groupby(names, lambda name: name.partition(".")[0])]
    return [
        group[0] if len(group) == 1 else f"{group[0].partition('.')[0]}.* ({len(group)})"
        for group in groups
    ]
