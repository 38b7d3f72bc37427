"""Where the tensors of a pass were made: in which module, by what kind of function."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .batchnorm import is_batchnorm
from .patches import patched

# Modules that only call one function with a weight of their own, which tells who calls; and
# modules that make nothing of their own. To follow neither saves much of the time.
_KNOWN_BY_WEIGHT = {
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Linear),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
}
_NO_MAKERS = {nn.Sequential, nn.ReLU, nn.ReLU6, nn.Identity, nn.Dropout}
_CONVOLUTIONS = {f"conv{extra}{n}d" for extra in ("", "_transpose") for n in (1, 2, 3)}
_KINDS = {
    "batch_norm": "batchnorm",
    "linear": "linear",
    **dict.fromkeys(_CONVOLUTIONS, "conv"),
    **dict.fromkeys(("add", "add_", "sub", "sub_"), "sum"),
}
_WEIGHING = {"batchnorm", "linear", "conv"}
_CHANNELS_SECOND = {"batch_norm", "group_norm", "instance_norm", *_CONVOLUTIONS}
_CHANNELS_LAST = {
    *("linear", "layer_norm", "rms_norm", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu"),
    *("multi_head_attention_forward", "scaled_dot_product_attention"),
}
_MOVES_DIMENSIONS = {"transpose", "permute", "swapaxes", "swapdims", "movedim", "moveaxis"}
_SEQUENCES = (tuple, list)
# What they return counts as made by whoever made what they got.
_PASSES_ON = {
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
    *("contiguous", "clone", "detach", "to", "float", "half", "bfloat16", "double", "type_as"),
}


@cache  # asked for at every call of a function
def name_of(function: Callable[..., Any]) -> str:
    """Return a function's own name; those of exported graphs have their overload in it."""
    return getattr(function, "__name__", "").partition(".")[0]


class Made(NamedTuple):
    """How one tensor came to be.

    Attributes:
        place: the module that returned it, or the one inside which it was made and by what,
            as in "layer1.0 (sum)".
        path: path of that module.
        kind: "batchnorm", "conv", "linear", "sum" or "other".
        channels: dimension in which its channels lie; the second, where nothing tells.
    """

    place: str
    path: str
    kind: str
    channels: int = 1


@lru_cache(4096)  # the same at every pass, and much slower to make than to find
def _made(name: str, kind: str, running: str, owner: str | None, channels: int) -> Made:
    if owner is not None:
        return Made(owner, owner, kind, channels)
    what = kind if kind == "sum" else name.rstrip("_")
    return Made(f"{running} ({what})".strip(), running, kind, channels)


class Producers:
    """Knows who made each tensor of a pass, as long as the tensor lives.

    It has to be told of every function that is called, by `note`. One serves many passes of the
    same model, whose modules are looked through once.

    Args:
        model: the model.
        owner: path of a module -> the modality that owns it, or "".
    """

    def __init__(self, model: nn.Module, owner: Callable[[str], str] = lambda _: "") -> None:
        self.owner = cache(owner)
        self._path = ""
        self._by_weight: dict[int, str] = {}
        self._watched: list[tuple[str, nn.Module, bool]] = []
        # Not in a dictionary with weak keys: there is none that compares tensors by identity
        # and is as quick.
        self._made: dict[int, tuple[weakref.ref[Tensor], Made]] = {}
        modules = list(model.named_modules())
        holders = Counter(id(p) for _, module in modules for p in module._parameters.values())
        for path, module in modules:
            as_made = "forward" not in vars(module)
            if as_made and type(module) in _KNOWN_BY_WEIGHT and _alone(module, holders):
                self._by_weight[id(module._parameters["weight"])] = path
            elif not (as_made and type(module) in _NO_MAKERS):
                self._watched.append((path, module, is_batchnorm(module)))

    @contextmanager
    def following(self) -> Iterator[None]:
        """Keep track of which module is running, and of what modules return, in one pass."""
        self._made.clear()
        with ExitStack() as stack:
            for path, module, normalizes in self._watched:
                followed = self._followed(path, module.forward, normalizes)
                stack.enter_context(patched(module, "forward", followed))
            yield

    def of(self, tensor: Any) -> Made | None:
        """Return who made a tensor; None for what comes from outside, such as an input."""
        known = self._made.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def of_outsider(self) -> Made:
        """Return what stands for the maker of an unknown tensor that is used here."""
        return Made(f"{self._path} (other)".strip(), self._path, "other")

    def note(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        output: Any,
    ) -> None:
        """Take in that a function was called with these arguments."""
        name = name_of(function)
        if name in _PASSES_ON:
            source = self.of(args[0]) if args else None
            if source is not None:
                self._keep(output, source)
            return
        kind = _KINDS.get(name, "other")
        if kind == "sum" and not _adds_alike(args, output):
            kind = "other"
        owner = None
        if kind in _WEIGHING:
            weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
            owner = self._by_weight.get(id(weight))
        for tensor in output if isinstance(output, tuple) else (output,):
            if isinstance(tensor, Tensor):
                channels = self._channels(name, function, args, kwargs, tensor)
                self._keep(tensor, _made(name, kind, self._path, owner, channels))

    def _channels(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        output: Tensor,
    ) -> int:
        if name in _CHANNELS_SECOND:
            return 1
        features_by_weights = name == "matmul" and args[0].ndim > 2
        if name in _CHANNELS_LAST or features_by_weights:
            return output.ndim - 1
        for source in args[0] if args and isinstance(args[0], _SEQUENCES) else args:
            made = self.of(source)
            if made is not None:
                break
        else:
            return 1
        if name in _MOVES_DIMENSIONS:
            # The function itself says where it moves a dimension, if no two have the same size.
            sizes = torch.empty(*range(source.ndim), device="meta")
            return list(function(sizes, *args[1:], **kwargs).shape).index(made.channels)
        if output.ndim == source.ndim:
            return made.channels
        return output.ndim - 1 if made.channels == source.ndim - 1 else 1

    def _keep(self, tensor: Any, made: Made) -> None:
        if isinstance(tensor, Tensor):
            self._made[id(tensor)] = weakref.ref(tensor), made

    def _followed(
        self, path: str, original: Callable[..., Any], normalizes: bool
    ) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            outside, self._path = self._path, path
            try:
                output = original(*args, **kwargs)
            finally:
                self._path = outside
            made = self.of(output)
            if made is None:  # made out of sight, as in a scripted module
                made = Made(path, path, "other")
            if made.path == path:
                kind = "batchnorm" if normalizes else made.kind
                self._keep(output, Made(path, path, kind, made.channels))
            return output

        return forward


def _alone(module: nn.Module, holders: Mapping[int, int]) -> bool:
    """Say whether a weight tells of one module; sharded ones are exchanged in a pass."""
    weight = module._parameters.get("weight")
    return type(weight) is nn.Parameter and holders[id(weight)] == 1


def _adds_alike(args: Sequence[Any], output: Any) -> bool:
    """Tell a residual sum from the adding of a bias."""
    if not isinstance(output, Tensor):
        return False
    shape = output.shape
    return all(isinstance(arg, Tensor) and arg.shape == shape for arg in args[:2])
