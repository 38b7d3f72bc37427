"""How much of each encoder is dead?

Its BatchNorm parameters foretell it, its activations on the data show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from ...errors import NotApplicableError
from ..findings import Finding, Verdict, threshold
from ..reading import answered, modalities, settings
from ..words import count, percent, shown

if TYPE_CHECKING:
    import xarray as xr

RULE = "dead_capacity"


class _View(NamedTuple):
    """What one probe says of an encoder."""

    verdict: Verdict
    sentence: str
    share: float
    bound: float
    evidence: str


class _Channels(NamedTuple):
    marked: int
    total: int

    @property
    def share(self) -> float:
        return self.marked / self.total


def dead_capacity(tree: xr.DataTree) -> list[Finding]:
    """Judge for each encoder whether too much of it is dead, from all that is known of it."""
    views = [_by_data(tree), _by_weights(tree)]
    return [
        _joined(name, [view[name] for view in views if name in view])
        for name in (*modalities(tree), "")
        if any(name in view for view in views)
    ]


def _joined(name: str, views: list[_View]) -> Finding:
    """Return one finding; what is found by one probe is found."""
    order = (Verdict.YES, Verdict.INCONCLUSIVE, Verdict.NO)
    deciding = min(views, key=lambda view: order.index(view.verdict))
    return Finding(
        RULE,
        deciding.verdict,
        " ".join(view.sentence for view in views),
        modality=name,
        value=deciding.share,
        threshold=deciding.bound,
        evidence=deciding.evidence,
    )


def dead_shares(tree: xr.DataTree) -> dict[str, float]:
    """Return the share of channels that are dead on the data, by modality."""
    ds = _activations(tree)
    return {} if ds is None else {n: c.share for n, c in _dead(ds, modalities(tree)).items()}


def abnormal_shares(tree: xr.DataTree) -> dict[str, float]:
    """Return the share of abnormal channels in each encoder that has BatchNorm layers."""
    ds = _batchnorms(tree)
    return {} if ds is None else {n: c.share for n, c in _abnormal(ds, modalities(tree)).items()}


def _by_data(tree: xr.DataTree) -> dict[str, _View]:
    ds = _activations(tree)
    if ds is None:
        return {}
    bound = threshold("dead_share")
    views = {}
    for name, channels in _dead(ds, modalities(tree)).items():
        own = ds["modality"].values == name
        examples = int(ds["examples"].values[own].min())
        inside = ds["channel_layer"].isin(ds["layer"].values[own])
        broken = int((ds["nan_examples"].where(inside, 0) > 0).sum())
        few = examples < threshold("few_examples")
        # Fewer examples can only make more channels look dead, and a NaN makes none look so.
        dead = channels.share > bound
        doubtful = few if dead else broken
        verdict = Verdict.YES if dead else Verdict.NO
        sentence = (
            f"{_of(channels, 'channel', name)} are dead on the data: 0 behind the activation "
            f"function in {100 * settings(ds)['threshold']:.4g} % of the examples or more. The "
            f"threshold is {percent(bound)}."
        )
        if broken:
            sentence += f" Not judged, for NaN: {count(broken, 'channel')}."
        if few and dead:
            sentence += f" But {count(examples, 'example')} cannot tell dead from rarely used."
        views[name] = _View(
            Verdict.INCONCLUSIVE if doubtful else verdict,
            sentence,
            channels.share,
            bound,
            "dead_features.dead_count",
        )
    return views


def _by_weights(tree: xr.DataTree) -> dict[str, _View]:
    ds = _batchnorms(tree)
    if ds is None:
        return {}
    bound = threshold("abnormal_share")
    small = _SMALL[settings(ds).get("criterion", "pair")].format(f"{float(ds['threshold'][0]):g}")
    checked = _checked(ds, _activations(tree))
    views = {}
    for name, channels in _abnormal(ds, modalities(tree)).items():
        verdict = Verdict.YES if channels.share > bound else Verdict.NO
        sentence = (
            f"{_of(channels, 'BatchNorm channel', name)} are abnormal: {small}. The threshold is "
            f"{percent(bound)}."
        )
        seen = checked.get(name)
        if seen and seen.abnormal:
            sentence += (
                f" Dead or constant on the data: {seen.silent:,} of the {seen.abnormal:,} abnormal "
                f"ones that an activation function follows; dead besides: {seen.others:,}."
            )
            alive = 1 - seen.silent / seen.abnormal
            if verdict is Verdict.YES and alive > threshold("abnormal_alive"):
                verdict = Verdict.INCONCLUSIVE
        evidence = "abnormal_batchnorm.abnormal_count"
        views[name] = _View(verdict, sentence, channels.share, bound, evidence)
    return views


_SMALL = {
    "pair": "scale and shift are below {}",
    "gamma": "the scale is below {}",
    "relative": "the scale is below {} times the layer's median",
}


class _Checked(NamedTuple):
    """BatchNorm channels that an activation function directly follows, on the data."""

    abnormal: int
    silent: int  # of these, the dead ones and those that hardly vary: both say nothing
    others: int  # that are dead and not abnormal


def _checked(abnormal: xr.Dataset, dead: xr.Dataset | None) -> dict[str, _Checked]:
    from ...capacity import join

    if dead is None or not {"abnormal", "dead_probability"} <= set(abnormal):
        return {}
    try:
        ds = join(dead, abnormal)
    except NotApplicableError:
        return {}
    is_dead, is_abnormal = ds["dead"].astype(bool), ds["abnormal"].isel(threshold=0).astype(bool)
    is_silent = is_dead | dead["low_variance"].sel(channel=ds["channel"]).astype(bool)
    found = {}
    for name in set(ds["modality"].values.tolist()):
        own = ds["channel_layer"].isin(ds["layer"].values[ds["modality"].values == name])
        marks = (is_abnormal, is_abnormal & is_silent, is_dead & ~is_abnormal)
        found[name] = _Checked(*(int((mark & own).sum()) for mark in marks))
    return found


def _activations(tree: xr.DataTree) -> xr.Dataset | None:
    needed = ("dead_count", "dead", "dead_rate", "low_variance", "examples", "nan_examples")
    return _last(answered(tree, "dead_features", *needed))


def _batchnorms(tree: xr.DataTree) -> xr.Dataset | None:
    return _last(answered(tree, "abnormal_batchnorm", "abnormal_count", "channels"))


def _last(ds: xr.Dataset | None) -> xr.Dataset | None:
    """Return the state after the last epoch: a channel that died later is dead now."""
    return ds if ds is None or "epoch" not in ds.dims else ds.isel(epoch=-1)


def _dead(ds: xr.Dataset, names: Iterable[str]) -> dict[str, _Channels]:
    return _counted(ds["dead_count"], ds, names)


def _abnormal(ds: xr.Dataset, names: Iterable[str]) -> dict[str, _Channels]:
    """Count at the first threshold, which is the probe's main one."""
    return _counted(ds["abnormal_count"].isel(threshold=0), ds, names)


def _counted(marked: xr.DataArray, ds: xr.Dataset, names: Iterable[str]) -> dict[str, _Channels]:
    """Add up the layers of each encoder, and of what belongs to none."""
    if "modality" not in ds.coords:
        return {}
    found = {}
    for name in (*names, ""):
        own = ds["modality"].values == name
        total = int(ds["channels"].values[own].sum())
        if total:
            found[name] = _Channels(int(marked.values[own].sum()), total)
    return found


def _of(channels: _Channels, what: str, name: str) -> str:
    where = f"in the encoder of {shown(name)}" if name else "outside of the encoders"
    total = count(channels.total, what)
    return f"{channels.marked:,} of {total} {where} ({percent(channels.share)})"
