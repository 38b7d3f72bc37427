"""Values in a form that a file can hold and give back without running code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from imbalance_lens.errors import SettingError


def serialized(weights: Mapping[str, Tensor], note: Mapping[str, str] | None = None) -> bytes:
    """Return weights in the safetensors format, which has no tensors that share memory.

    Args:
        weights: name -> tensor.
        note: stands in the file beside them.

    Raises:
        SettingError: one has the only name that the format does not allow.
    """
    stored: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in weights.items():
        if name == "__metadata__":
            raise SettingError("safetensors keeps the name '__metadata__' to itself. Rename it.")
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        stored[name] = own.clone() if place in taken else own
        taken.add(place)
    return save(stored, None if note is None else dict(note))


def plain(value: Any, name: str) -> Any:
    """Return a copy made of what can be read back without running code.

    Args:
        value: texts, numbers, None, tensors and arrays in dictionaries, lists and tuples.
        name: of the value, for the message.

    Raises:
        SettingError: it holds something else.

    Example:
        >>> plain({"seen": np.int64(3), "lr": [0.1]}, "state")
        {'seen': 3, 'lr': [0.1]}
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Tensor):
        tensor = value.detach()
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes
        return tensor if whole else tensor.clone()  # else all of the storage would be written
    if isinstance(value, np.generic):
        return plain(value.item(), name)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Mapping):
        return {plain(k, f"{name}'s key"): plain(v, f"{name}[{k!r}]") for k, v in value.items()}
    if isinstance(value, list | tuple):
        entries = [plain(entry, f"{name}[{place}]") for place, entry in enumerate(value)]
        return entries if isinstance(value, list) else tuple(entries)
    raise SettingError(
        f"{name} is a {type(value).__name__}, which a checkpoint cannot hold. Give texts, numbers, "
        "None and tensors, in dictionaries, lists and tuples."
    )


_PLAIN = {type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device}
