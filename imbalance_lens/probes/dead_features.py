"""Channels that an activation function silences on the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from .. import checks
from ..errors import NotApplicableError, SettingError
from ..observation import BN_STATS, Activation, Need, Observation
from ._base import Probe
from ._dead_channels import table
from ._extremes import Extremes

if TYPE_CHECKING:
    import xarray as xr

_FAR = 1e-3
"""Between peaks of a channel that varies, in largest entries of its layer."""
Layout = tuple[tuple[str, int], ...]
"""Place and number of channels of all that one batch has shown, in its order."""


@dataclass(eq=False)
class DeadFeatures(Probe):
    """Counts on data the channels that a ReLU silences, and those that always say the same.

    A channel is dead in an example if its whole map is 0 behind the ReLU, and dead if it is so
    in nearly all examples (Feng et al., 2023, section 3.1, footnotes 1 and 2). A constant
    channel gives one number at every position of every example: without information, too.

    All ReLUs of the model are looked at, modules and functions, also those with a cap. The model
    is in eval mode, in a training too.

    Cost: one or two reductions of each activation and some Python per layer, a few hundredths of
    a pass. In a training, or with `bn_stats="batch"`, one more pass per batch. It keeps 20 bytes
    per channel, 4 more per class, and 512 at most of examples that it is about to count.

    Args:
        threshold: share of the examples from which on a channel is dead. The paper gives no
            number, only "most samples".
        bn_stats: statistics that BatchNorm layers use: "running", their own; "batch", those of
            the batch, for an encoder whose own are from other data.
        tolerance: size up to which an entry counts as 0. GELU, SiLU, LeakyReLU and their like,
            which hardly ever give exact zeros, are only looked at if it is above 0.
        per_class: also count by class, where there are labels.

    Raises:
        SettingError: a threshold outside (0, 1], a tolerance below 0, unknown `bn_stats`.

    Example:
        >>> ends, labels = torch.tensor([[0.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 1])
        >>> relu = Activation(ends, ends, "relu", True, producer="net.bn", kind="batchnorm")
        >>> shown = {"net.bn > relu": relu}
        >>> probe = DeadFeatures()
        >>> probe.observe(Observation(labels, ends, ("a", "b"), activations=lambda _: shown))
        >>> probe.result()["dead"].values
        array([ True, False])
    """

    needs = (Need.ACTIVATIONS,)
    threshold: float = 0.99
    bn_stats: str = "running"
    tolerance: float = 0.0
    per_class: bool = True
    _seen: dict[Layout, Extremes] = field(default_factory=dict, init=False, repr=False)
    _places: dict[str, Activation] = field(default_factory=dict, init=False, repr=False)
    _varied: set[str] = field(default_factory=set, init=False, repr=False)
    _left_out: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.threshold, Real) and 0 < self.threshold <= 1):
            raise SettingError(
                "threshold is a share of the examples, above 0 and at most 1; "
                f"got {self.threshold!r}."
            )
        checks.at_least("tolerance", self.tolerance, 0)
        checks.one_of("bn_stats", self.bn_stats, BN_STATS)

    def peaks_only(self) -> frozenset[str]:
        """Return the places of rectifiers whose further lower ends decide nothing.

        Every channel has been at 0, below which they give nothing, or varies by far too much to
        be constant. None on an accelerator: to know it there, the host would wait.
        """
        return frozenset(self._varied)

    def observe(self, seen: Observation) -> None:
        """Count one batch.

        Raises:
            NotApplicableError: the model called nothing that can be looked at.
        """
        shown = seen.activations(self.bn_stats)
        reasons = {place: self._why_not(heard, len(seen.logits)) for place, heard in shown.items()}
        usable = {place: heard for place, heard in shown.items() if not reasons[place]}
        self._left_out.update({place: reason for place, reason in reasons.items() if reason})
        if not usable:
            raise NotApplicableError(_complaint(reasons.values()))
        layout = tuple((place, heard.highest.shape[1]) for place, heard in usable.items())
        device = seen.logits.device  # activations are on several where the model is
        highest = torch.cat([heard.highest.to(device) for heard in usable.values()], 1)
        lowest = _lows(usable.values(), highest)
        if layout not in self._seen:
            classes = seen.logits.shape[1] if self.per_class else 0
            self._seen[layout] = Extremes.none_of(highest, classes, self.tolerance)
        counted = self._seen[layout].take(highest, lowest, seen.labels)
        if counted and device.type == "cpu":
            self._note_varied(usable, layout)
        for place in usable.keys() - self._places.keys():
            none = highest.new_empty(0)
            self._places[place] = replace(usable[place], highest=none, lowest=none)

    def merge(self, other: Self) -> None:
        """Take in what another copy has counted on other examples."""
        for layout, counted in other._seen.items():
            if layout in self._seen:
                self._seen[layout].add(counted)
            else:
                self._seen[layout] = counted.copy()
        self._places = {**other._places, **self._places}
        self._varied |= other._varied
        self._left_out.update(other._left_out)

    def result(self) -> xr.Dataset:
        """Return the counts over (layer), and the channels of all layers in one row.

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        if not self._seen:
            raise self.nothing_seen()
        seen, restless = _by_place(self._seen)
        left_out = self._left_out | dict.fromkeys(restless, "its number of channels changes")
        if not seen:
            raise NotApplicableError(_complaint(left_out.values()))
        return table(
            seen,
            self._places,
            threshold=self.threshold,
            settings=self.settings(),
            left_out=left_out,
        )

    def _note_varied(self, heard: Mapping[str, Activation], layout: Layout) -> None:
        sizes = [size for _, size in layout]
        seen = self._seen[layout]
        ends = (each.split(sizes) for each in (seen.highest, seen.weakest, seen.lowest))
        self._varied.update(
            place
            for (place, _), *each in zip(layout, *ends, strict=True)
            if place not in self._varied and heard[place].rectifies and _vary(*each)
        )

    def _why_not(self, heard: Activation, examples: int) -> str:
        if not (heard.rectifies or self.tolerance):
            return f"{heard.function} gives no exact zeros; set a tolerance above 0 to look at it"
        if heard.highest.shape[0] != examples:
            return "its rows cannot be told apart by example"
        return ""


def _lows(heard: Collection[Activation], highest: Tensor) -> Tensor:
    """Return the lower ends; the upper ones where they do not matter any more."""
    if all(each.lowest is None for each in heard):
        return highest
    lows = [each.highest if each.lowest is None else each.lowest for each in heard]
    return torch.cat([low.to(highest.device) for low in lows], 1)


def _vary(highest: Tensor, weakest: Tensor, lowest: Tensor) -> bool:
    """Say whether every channel of a rectifier has been at 0, or has had peaks far apart."""
    far = highest - weakest > _FAR * highest.max()
    return bool((far | (lowest == 0)).all())


def _by_place(seen: Mapping[Layout, Extremes]) -> tuple[dict[str, Extremes], set[str]]:
    """Return the counts of every place, and the places that cannot be added up.

    Where the model goes other ways with other data, batches show different places.
    """
    found: dict[str, Extremes] = {}
    restless: set[str] = set()
    for layout, counted in seen.items():
        for (place, size), part in zip(
            layout, counted.parts([size for _, size in layout]), strict=True
        ):
            if place not in found:
                found[place] = part
            elif len(found[place].dead) == size:
                found[place].add(part)
            else:
                restless.add(place)
    return {place: part for place, part in found.items() if place not in restless}, restless


def _complaint(reasons: Iterable[str]) -> str:
    told = [f"{reason} (places: {n})" for reason, n in Counter(reasons).items()]
    return "; ".join(told) or Need.ACTIVATIONS.value


PROBE = DeadFeatures
