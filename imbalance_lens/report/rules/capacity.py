"""How much of each encoder is dead?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..findings import Finding, Verdict, threshold
from ..reading import measured, modalities, settings
from ..words import count, percent, shown

if TYPE_CHECKING:
    import xarray as xr

RULE = "dead_capacity"
_SMALL = {
    "pair": "scale and shift are below {}",
    "gamma": "the scale is below {}",
    "relative": "the scale is below {} times the layer's median",
}


class _Channels(NamedTuple):
    abnormal: int
    total: int

    @property
    def share(self) -> float:
        return self.abnormal / self.total


def dead_capacity(tree: xr.DataTree) -> list[Finding]:
    """Judge for each encoder whether too many of its BatchNorm channels are abnormal."""
    ds = measured(tree, "abnormal_batchnorm", "abnormal_count", "channels")
    if ds is None:
        return []
    bound = threshold("abnormal_share")
    small = _SMALL[settings(ds).get("criterion", "pair")].format(f"{float(ds['threshold'][0]):g}")
    found = []
    for name, channels in _by_modality(tree).items():
        where = f"in the encoder of {shown(name)}" if name else "outside of the encoders"
        dead = channels.share > bound
        sentence = (
            f"{channels.abnormal:,} of {count(channels.total, 'BatchNorm channel')} {where} "
            f"({percent(channels.share)}) are abnormal: {small}. The threshold is "
            f"{percent(bound)}."
        )
        found.append(
            Finding(
                RULE,
                Verdict.YES if dead else Verdict.NO,
                sentence,
                modality=name,
                value=channels.share,
                threshold=bound,
                evidence="abnormal_batchnorm.abnormal_count",
            )
        )
    return found


def abnormal_shares(tree: xr.DataTree) -> dict[str, float]:
    """Return the share of abnormal channels in each encoder that has BatchNorm layers."""
    return {name: channels.share for name, channels in _by_modality(tree).items()}


def _by_modality(tree: xr.DataTree) -> dict[str, _Channels]:
    """Count at the first threshold, which is the probe's main one, in the last epoch."""
    ds = measured(tree, "abnormal_batchnorm", "abnormal_count", "channels")
    if ds is None or "modality" not in ds.coords:
        return {}
    abnormal = ds["abnormal_count"].isel(threshold=0)
    if "epoch" in abnormal.dims:
        abnormal = abnormal.isel(epoch=-1)
    owners = ds["modality"].values
    found = {}
    for name in (*modalities(tree), ""):
        own = owners == name
        total = int(ds["channels"].values[own].sum())
        if total:
            found[name] = _Channels(int(abnormal.values[own].sum()), total)
    return found
