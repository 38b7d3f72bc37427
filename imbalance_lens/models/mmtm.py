"""Modalities that scale each other's channels, layer by layer, on their way to their own logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from .. import checks
from ..errors import SettingError
from ._base import all_given, by_modality


class Gate(nn.Linear):
    """What every channel of one modality is multiplied by, between 0 and 2; see `Mmtm`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return gates (batch, channels) from the joint signal (batch, width)."""
        return 2 * super().forward(input).sigmoid()


class Mmtm(nn.Module):
    """Multimodal Transfer Module: all modalities together scale the channels of each.

    Every map x_m is squeezed to its mean over places s_m, and a joint signal of all of them gates
    its channels (Joze et al., CVPR 2020, eq. 1 to 4): `z = relu(W [s_1; ...; s_M] + b)`,
    `e_m = 2 sigmoid(W_m z + b_m)`, and `e_m * x_m` takes the place of x_m. The maps need not
    agree in their places, nor in how many dimensions these have.

    Args:
        sizes: modality -> number of channels; two modalities or more.
        ratio: by how much the joint signal is narrower than all channels together.

    Raises:
        SettingError: a value that is not allowed; when called, other modalities or channels than
            it was made for.

    Example:
        >>> transfer = Mmtm({"audio": 4, "visual": 6})
        >>> maps = {"audio": torch.ones(2, 4, 9), "visual": torch.ones(2, 6, 8, 8)}
        >>> {name: tuple(x.shape) for name, x in transfer(maps).items()}
        {'audio': (2, 4, 9), 'visual': (2, 6, 8, 8)}
    """

    def __init__(self, sizes: Mapping[str, int], *, ratio: int = 4) -> None:
        super().__init__()
        checks.modalities(sizes)
        for modality, size in sizes.items():
            checks.whole(f"sizes[{modality!r}]", size)
        checks.whole("ratio", ratio)
        together = sum(sizes.values())
        width = max(1, together // ratio)
        self.sizes = dict(sizes)
        self.joint = nn.Linear(together, width)
        self.gates = by_modality((m, Gate(width, size)) for m, size in sizes.items())

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the gated maps.

        Args:
            maps: modality -> (batch, channels, ...); without places, as (batch, channels), it is
                its own mean.
        """
        checks.same_modalities("maps", maps, self.sizes)
        for m, size in self.sizes.items():
            fits = maps[m].ndim >= 2 and maps[m].shape[1] == size
            checks.shape(f"maps[{m!r}]", maps[m], f"(batch, {size}, ...)", fits)
        squeezed = torch.cat([squeeze(maps[m]) for m in self.sizes], dim=1)
        joint = self.joint(squeezed).relu()
        return {m: _scaled(maps[m], self.gates[m](joint)) for m in self.sizes}


class MmtmNet(nn.Module):
    """One network per modality, `Mmtm` between their stages, and the mean of their logits.

    Wu et al. (ICML 2022) study this model with ResNet-18 as the network and three modules.

    Args:
        branches: modality -> its stages, as many for each, from its input to maps
            (batch, channels, ...). A linear layer on the last map's mean gives its logits.
        sizes: modality -> channels after each of the last stages, those with a module behind them;
            stages before these have none.
        classes: number of logits.
        ratio: of the modules, see `Mmtm`.

    Raises:
        SettingError: branches of different lengths, sizes that do not fit them, or a value that is
            not allowed; when called, an input is missing.

    Example:
        >>> stages = {name: [nn.Linear(5, 8), nn.Linear(8, 4)] for name in ("audio", "text")}
        >>> model = MmtmNet(stages, {name: [8, 4] for name in stages}, classes=3)
        >>> model(audio=torch.ones(2, 5), text=torch.ones(2, 5)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        branches: Mapping[str, Sequence[nn.Module]],
        sizes: Mapping[str, Sequence[int]],
        classes: int,
        *,
        ratio: int = 4,
    ) -> None:
        super().__init__()
        checks.modalities(branches)
        checks.same_modalities("sizes", sizes, branches)
        checks.whole("classes", classes)
        lengths = {len(stages) for stages in branches.values()}
        widths = {len(of_stages) for of_stages in sizes.values()}
        if len(lengths) != 1 or len(widths) != 1 or not 0 < min(widths) <= min(lengths):
            raise SettingError(
                f"branches have {_counts(branches)} stages, and sizes {_counts(sizes)} numbers. "
                "Give as many stages for each modality, and for each the channels after its last "
                "stages, one number or more, and no more than stages."
            )
        self.branches = by_modality(
            (m, nn.ModuleList([*stages, nn.Linear(sizes[m][-1], classes)]))
            for m, stages in branches.items()
        )
        self.transfers = nn.ModuleList(
            Mmtm({m: sizes[m][stage] for m in branches}, ratio=ratio)
            for stage in range(min(widths))
        )

    @classmethod
    def small(cls, modalities: Iterable[str], classes: int, *, width: int = 16) -> MmtmNet:
        """Return a model with three small convolutional stages per modality, two of them gated.

        Args:
            modalities: their names; their inputs have one channel, as spectrograms do.
            classes: number of logits.
            width: channels of the first stage; the others have twice as many.

        Example:
            >>> model = MmtmNet.small(["audio", "visual"], classes=10)
            >>> model(audio=torch.ones(2, 1, 32, 32), visual=torch.ones(2, 1, 8, 8)).shape
            torch.Size([2, 10])
        """
        checks.whole("width", width)
        names = tuple(modalities)
        channels = [1, width, 2 * width, 2 * width]
        branches = {m: [_stage(*pair) for pair in pairwise(channels)] for m in names}
        return cls(branches, dict.fromkeys(names, channels[2:]), classes)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return logits (batch, classes) from one input per modality; others are not looked at."""
        return torch.stack([*self.modality_logits(**inputs).values()]).mean(0)

    def modality_logits(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Return each branch's logits (batch, classes), whose mean is the answer."""
        all_given(inputs, self.branches)
        maps = {m: inputs[m] for m in self.branches}
        branches = {m: [*cast("nn.ModuleList", branch)] for m, branch in self.branches.items()}
        *stages, heads = (
            dict(zip(branches, level, strict=True))
            for level in zip(*branches.values(), strict=True)
        )
        ungated = len(stages) - len(self.transfers)
        for number, stage in enumerate(stages):
            maps = {m: stage[m](maps[m]) for m in stage}
            if number >= ungated:
                maps = self.transfers[number - ungated](maps)
        return {m: heads[m](squeeze(maps[m])) for m in heads}


def squeeze(map: Tensor) -> Tensor:
    """Return the mean (batch, channels) over all places of (batch, channels, ...)."""
    return map.flatten(2).mean(2) if map.ndim > 2 else map


def _scaled(map: Tensor, gates: Tensor) -> Tensor:
    return map * gates.reshape(gates.shape + (1,) * (map.ndim - 2))


def _stage(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def _counts(given: Mapping[str, Sequence[object]]) -> str:
    return " and ".join(str(len(several)) for several in given.values())
