"""Where the tensors of a pass were made: in which module, by what kind of function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, Protocol
from weakref import ref

import torch
from torch import Tensor, nn

from .batchnorm import is_batchnorm
from .patches import Patch

# Modules that do nothing but call one function with what they are given. Each counts as that
# call: to listen to what happens inside costs several times as much.
_WEIGHERS = {
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.ConvTranspose3d: "conv_transpose3d",
    nn.BatchNorm1d: "batch_norm",
    nn.BatchNorm2d: "batch_norm",
    nn.BatchNorm3d: "batch_norm",
    nn.Linear: "linear",
}
_RECTIFIERS = {nn.ReLU: "relu", nn.ReLU6: "relu6"}
_NO_MAKERS = {nn.Sequential, nn.Identity, nn.Dropout}  # they make nothing of their own
_CONVOLUTIONS = {f"conv{extra}{n}d" for extra in ("", "_transpose") for n in (1, 2, 3)}
_KINDS = {
    "batch_norm": "batchnorm",
    "linear": "linear",
    **dict.fromkeys(_CONVOLUTIONS, "conv"),
    **dict.fromkeys(("add", "add_", "sub", "sub_"), "sum"),
}
_CHANNELS_SECOND = {"batch_norm", "group_norm", "instance_norm", *_CONVOLUTIONS}
_CHANNELS_LAST = {
    *("linear", "layer_norm", "rms_norm", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu"),
    *("multi_head_attention_forward", "scaled_dot_product_attention"),
}
_MOVES_DIMENSIONS = {"transpose", "permute", "swapaxes", "swapdims", "movedim", "moveaxis"}
_SEQUENCES = (tuple, list)

Forward = Callable[..., Any]
Wrapper = Callable[[Forward], Forward]
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
def _made(name: str, kind: str, running: str, channels: int) -> Made:
    what = kind if kind == "sum" else name.rstrip("_")
    return Made(f"{running} ({what})".strip(), running, kind, channels)


class Ear(Protocol):
    """Hears the functions that are called, and can be spared some.

    Attributes:
        for_batchnorm: whether it has to hear those of the BatchNorm layers.
    """

    for_batchnorm: bool

    def pause(self) -> bool:
        """Hear nothing until `resume`; False where it hears nothing now."""
        ...

    def resume(self) -> None:
        """Hear again."""
        ...

    def take(self, function: str, made: Made, output: Tensor) -> None:
        """Be told what an activation function gave, unheard, for what was made so."""
        ...


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
        self._ear: Ear
        # Not in a dictionary with weak keys: there is none that compares tensors by identity
        # and is as quick.
        self._made: dict[int, tuple[ref[Tensor], Made]] = {}
        self._patches = [
            Patch(module, "forward", wrap)
            for path, module in model.named_modules()
            if (wrap := self._wrapper(path, module)) is not None
        ]

    @contextmanager
    def following(self, ear: Ear) -> Iterator[None]:
        """Keep track of which module is running, and of what modules return, in one pass."""
        self._made.clear()
        self._ear = ear
        try:
            for patch in self._patches:
                patch.put()
            yield
        finally:
            for patch in self._patches:
                patch.take_back()

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
        for tensor in output if isinstance(output, tuple) else (output,):
            if isinstance(tensor, Tensor):
                channels = self._channels(name, function, args, kwargs, tensor)
                self._keep(tensor, _made(name, kind, self._path, channels))

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
            self._made[id(tensor)] = ref(tensor), made

    def _wrapper(self, path: str, module: nn.Module) -> Wrapper | None:
        if "forward" not in vars(module):
            if type(module) in _NO_MAKERS:
                return None
            if type(module) in _WEIGHERS:
                return partial(self._weighing, path, _WEIGHERS[type(module)])
            if type(module) in _RECTIFIERS:
                return partial(self._rectifying, _RECTIFIERS[type(module)])
        return partial(self._followed, path, is_batchnorm(module))

    # Little happens in the next two: between the layers, whose weights have filled the
    # processor's cache, Python is several times slower than elsewhere.

    def _weighing(self, path: str, name: str, original: Forward) -> Forward:
        made = Made(path, path, _KINDS[name])
        channels_last = name in _CHANNELS_LAST
        normalizes = name == "batch_norm"

        def forward(*args: Any, **kwargs: Any) -> Any:
            ear = self._ear
            paused = not (normalizes and ear.for_batchnorm) and ear.pause()
            try:
                output = original(*args, **kwargs)
                channels = output.ndim - 1 if channels_last else 1
            finally:
                if paused:
                    ear.resume()
            kept = made._replace(channels=channels) if channels_last else made
            self._made[id(output)] = ref(output), kept
            return output

        return forward

    def _rectifying(self, name: str, original: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            ear = self._ear
            if not ear.pause():
                return original(*args, **kwargs)
            try:
                output = original(*args, **kwargs)
                made = self.of(args[0] if args else kwargs["input"]) or self.of_outsider()
                ear.take(name, made, output)
            finally:
                ear.resume()
            self._made[id(output)] = (
                ref(output),
                _made(name, "other", self._path, made.channels),
            )
            return output

        return forward

    def _followed(self, path: str, normalizes: bool, original: Forward) -> Forward:
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


def _adds_alike(args: Sequence[Any], output: Any) -> bool:
    """Tell a residual sum from the adding of a bias."""
    if not isinstance(output, Tensor):
        return False
    shape = output.shape
    return all(isinstance(arg, Tensor) and arg.shape == shape for arg in args[:2])
