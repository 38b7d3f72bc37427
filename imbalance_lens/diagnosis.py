"""All probes over a frozen model, in one pass over the data."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from . import checks
from .anatomy import Anatomy
from .anatomy.outputs import LogitsOf, checked_logits
from .anatomy.readout import Heads
from .anatomy.replay import Replay
from .anatomy.replayer import Replayer
from .anatomy.self_check import Remark, self_check
from .batches import Split
from .errors import SignalBypassWarning
from .hooks.frozen import frozen
from .hooks.wrappers import unwrap
from .loaders import iterated, loader_kept, pairs
from .observer import Observer, ProbeChoice, chosen_probes, unasked_probes
from .passes import show, who_is_who
from .progress import bar

if TYPE_CHECKING:
    from .report import Report


def diagnose(
    model: nn.Module,
    loader: Iterable[Any],
    anatomy: Anatomy | Mapping[str, str] | None = None,
    probes: Iterable[ProbeChoice] | None = None,
    *,
    train: Iterable[Any] | None = None,
    heads: Heads | None = None,
    split: Split | None = None,
    logits: LogitsOf | None = None,
    max_batches: int | None = None,
    progress: bool | None = None,
) -> Report:
    """Find out which modality dominates a model, and say why.

    One pass over the data: each encoder runs once per batch, fusion and head once per set of
    modalities. The model, its flags, its buffers and all random states are bit-identical
    afterwards, also when something raises in between.

    Args:
        model: any PyTorch model, also wrapped in DDP, DataParallel or torch.compile. Data is
            moved to the device of its parameters.
        loader: an iterable of batches: (inputs, labels), (input, input, ..., labels), or a
            mapping with the labels under "label", "labels" or "target". Without labels the probes
            that need them say so; with labels in some batches only, it is refused.
        anatomy: who is who, or just {modality: path of its encoder}. Default: found from the
            first batch.
        probes: names, or probes with settings of their own. Default: all but the
            costly ones, which the report lists.
        train: examples that the model was trained on, as `loader` gives them, for probes that
            fit or compare something; every other probe ignores them, and they do not count among
            the examples of the report. Read once, after `loader`.
        heads: unimodal heads trained beside the model, modality -> head on the encoder's output.
            They win over reading unimodal logits out of the joint head.
        split: gets (inputs, labels) out of batches of any other kind.
        logits: gets the logits (batch, classes) out of the model's output where that is unclear.
        max_batches: stop after that many batches of a loader.
        progress: show a bar. Default: in a terminal or a notebook.

    Returns:
        A report with one dataset per probe, findings in plain sentences, recommendations, and
        the reason for each probe that could not run.

    Raises:
        AnatomyError: the model's parts could not be found, or the given ones do not fit.
        BatchError: no batch, or batches that cannot be used.
        UnknownNameError: no probe of a name.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> report = diagnose(model, loader)
        >>> report.findings[0].modality
        'audio'
    """
    from .report import Report
    from .report.reading import LEFT_IN, TRAINING_EXAMPLES

    chosen = chosen_probes(probes)
    if max_batches is not None:
        checks.whole("max_batches", max_batches)
    inner = unwrap(model)
    with frozen(inner), loader_kept(loader), loader_kept(() if train is None else train):
        examples = pairs(_shown(loader, max_batches, progress), split)
        first = next(examples)
        who = who_is_who(inner, anatomy, first[0])
        observer = Observer(inner, who, chosen, heads)
        remarks: list[Remark] = []

        def check(replay: Replay) -> None:
            remarks.extend(self_check(replay))

        logits_of = None if logits is None else checked_logits(logits)
        with Replayer(inner, who, logits_of=logits_of) as replayer:
            show(itertools.chain([first], examples), replayer, observer, at_first=check)
            if train is not None and observer.looks_at_training:
                shown = _shown(train, max_batches, progress, "train")
                fitted = pairs(shown, split, name="The loader of training examples")
                show(fitted, replayer, observer, training=True)
        datasets = observer.datasets()
    for sentence in (remark.sentence for remark in remarks if remark.left_in):
        warnings.warn(sentence, SignalBypassWarning, stacklevel=2)
    return Report.build(
        datasets,
        model=type(inner).__name__,
        anatomy=who,
        readout=observer.readout,
        skipped={**observer.skipped, **(unasked_probes() if probes is None else {})},
        notes=[remark.sentence for remark in remarks] + observer.notes,
        examples=observer.examples,
        settings={
            TRAINING_EXAMPLES: observer.training_examples,
            LEFT_IN: sorted({name for remark in remarks for name in remark.left_in}),
        },
        torch_version=str(torch.__version__),
    )


def _shown(
    loader: Iterable[Any], most: int | None, progress: bool | None, name: str = "diagnose"
) -> Iterator[Any]:
    try:
        total = len(loader)  # pyright: ignore[reportArgumentType]
    except (TypeError, NotImplementedError):  # it has no length: a generator, a stream
        total = None
    if total is not None and most is not None:
        total = min(total, most)
    batches = itertools.islice(iterated(loader), most)
    return iter(bar(batches, show=progress, total=total, desc=name, unit="batch"))
