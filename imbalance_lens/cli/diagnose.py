"""`imbalance-lens diagnose`: which modality dominates a model, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SettingError
from ..report.storage import write_tree
from ._answers import answers, report_text, saving
from ._objects import loader_from, model_from, on_device
from ._options import (
    FILE,
    Written,
    as_json,
    the_data,
    the_encoders,
    the_model,
    the_trust,
    together,
)

if TYPE_CHECKING:
    from ..anatomy import Anatomy
    from ..observer import ProbeChoice


@click.command("diagnose")
@the_model
@the_data
@click.option(
    "--train",
    "train_name",
    type=Written(),
    help="The same with examples that the model was trained on, for probes that compare or fit.",
)
@click.option("--checkpoint", type=FILE, help="The weights, if the model comes without them.")
@the_encoders
@click.option("--head", help="Path of the module that gives the logits; goes with --anatomy.")
@click.option(
    "--probe",
    "names",
    multiple=True,
    help="What to measure; give it more than once for several. Default: all but the costly ones.",
)
@click.option(
    "--fill",
    type=click.Choice(["zero", "mean", "permute", "input"]),
    help="What stands for the features of an absent modality.",
)
@click.option("--max-batches", type=click.IntRange(min=1), help="Stop after that many batches.")
@click.option("--device", help="Where the model runs, as cuda. Default: where it is.")
@click.option("--out", type=FILE, help="Save the report in this file, as netCDF.")
@the_trust
@as_json
@answers
def diagnose(
    model_name: str,
    checkpoint: Path | None,
    data_name: str,
    train_name: str | None,
    encoders: tuple[tuple[str, str], ...],
    head: str | None,
    names: tuple[str, ...],
    fill: str | None,
    max_batches: int | None,
    device: str | None,
    out: Path | None,
    trust: bool,
    as_json: bool,
) -> str:
    """Find out which modality dominates a model, and why.

    The current folder is searched for the modules that --model and --data name.
    """
    from ..checkpoints import load_into
    from ..diagnosis import diagnose as diagnosed

    who = _anatomy(encoders, head)
    probes = _probes(names, fill)
    save = saving(out, write_tree)
    model = model_from(model_name)
    if checkpoint is not None:
        load_into(model, checkpoint, trust=trust)
    if device is not None:
        on_device(model, device)
    loader = loader_from(data_name)
    train = None if train_name is None else loader_from(train_name)
    report = diagnosed(
        model, loader, anatomy=who, probes=probes, train=train, max_batches=max_batches
    )
    save(report.tree)
    return report_text(report, as_json=as_json)


def _anatomy(encoders: Sequence[tuple[str, str]], head: str | None) -> Anatomy | None:
    from ..anatomy import Anatomy

    if not encoders:
        if head is not None:
            raise click.UsageError("--head goes with --anatomy, which names the encoders.")
        return None
    return Anatomy(encoders=together("--anatomy", encoders), head=head)


def _probes(names: Sequence[str], fill: str | None) -> Sequence[ProbeChoice] | None:
    """Return the probes, or None for those that run unasked; those that fill features do it so."""
    from ..observer import chosen_probes

    if fill is None:
        return names or None
    chosen = chosen_probes(names or None)
    filling = {name for name, probe in chosen.items() if "fill" in probe.settings()}
    if not filling:
        raise SettingError(f"--fill has no meaning for {', '.join(chosen)}. Leave it out.")
    return [
        type(probe)(**{**probe.settings(), "fill": fill}) if name in filling else probe
        for name, probe in chosen.items()
    ]


COMMAND = diagnose
