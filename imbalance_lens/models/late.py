"""Late fusion: every modality has its own encoder, and they meet in the fusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from .. import checks
from ..errors import SettingError
from ._base import Fusion, all_given, by_modality
from .additive import ConcatFusion
from .encoders import SmallCnn


class LateFusion(nn.Module):
    """One encoder per modality, and a fusion of what they say.

    Args:
        encoders: modality -> module from its input to features (batch, size). The encoders of
            this package say their size as `out_features`.
        fusion: module from features by modality to logits (batch, classes).

    Raises:
        SettingError: no encoder, a fusion of this package that is made for other modalities or
            other sizes, or a name that torch does not allow; when called, an input is missing.

    Example:
        >>> import torch
        >>> from imbalance_lens.models import FilmFusion, Mlp, SmallCnn
        >>> encoders = {"audio": SmallCnn(width=4), "text": Mlp(20, width=8)}
        >>> sizes = {name: encoder.out_features for name, encoder in encoders.items()}
        >>> model = LateFusion(encoders, FilmFusion(sizes, classes=10))
        >>> model(audio=torch.ones(2, 1, 32, 32), text=torch.ones(2, 20)).shape
        torch.Size([2, 10])
    """

    def __init__(self, encoders: Mapping[str, nn.Module], fusion: nn.Module) -> None:
        super().__init__()
        if isinstance(fusion, Fusion):
            checks.same_modalities("fusion", fusion.sizes, encoders)
            _check_sizes(encoders, fusion.sizes)
        self.encoders = by_modality(encoders)
        self.fusion = fusion

    @classmethod
    def small(cls, modalities: Iterable[str], classes: int, *, width: int = 16) -> LateFusion:
        """Return a model with one small convolutional encoder per modality and a linear head.

        Args:
            modalities: their names; one will do, which makes a unimodal model of the same kind.
            classes: number of logits.
            width: channels of an encoder's first layer; the others have twice as many.

        Example:
            >>> import torch
            >>> model = LateFusion.small(["audio", "visual"], classes=10)
            >>> model(audio=torch.ones(2, 1, 32, 32), visual=torch.ones(2, 1, 8, 8)).shape
            torch.Size([2, 10])
        """
        encoders = {name: SmallCnn(width=width) for name in modalities}
        sizes = {name: encoder.out_features for name, encoder in encoders.items()}
        return cls(encoders, ConcatFusion(sizes, classes))

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return logits (batch, classes) from one input per modality; others are not looked at."""
        all_given(inputs, self.encoders)
        return self.fusion({name: net(inputs[name]) for name, net in self.encoders.items()})


def _check_sizes(encoders: Mapping[str, nn.Module], sizes: Mapping[str, int]) -> None:
    for name, encoder in encoders.items():
        given = getattr(encoder, "out_features", sizes[name])
        if given != sizes[name]:
            raise SettingError(
                f"The encoder of {name!r} gives {given} features; the fusion is made for "
                f"{sizes[name]}. Make the fusion with sizes={{..., {name!r}: {given}}}."
            )
