"""Options of the commands that train, and the arguments that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from ._objects import function_from
from ._options import Written, the_encoders, together

_OPTIONS = (
    click.option(
        "--optimizer",
        "optimizer_name",
        type=Written(),
        help="A function of parameters that makes the optimizer. Default: that of recipes.apply.",
    ),
    click.option(
        "--scheduler",
        "scheduler_name",
        type=Written(),
        help="A function of the optimizer that makes a scheduler; it steps after each epoch.",
    ),
    the_encoders,
    click.option(
        "--accumulate", type=click.IntRange(min=1), help="Micro-batches per optimizer step."
    ),
    click.option("--clip-norm", type=float, help="Largest norm of all gradients together."),
    click.option(
        "--patience",
        type=click.IntRange(min=1),
        help="Stop after so many epochs without a better validation.",
    ),
    click.option(
        "--device", help="Where it runs, as cuda. Default: the accelerator, if there is one."
    ),
    click.option("--precision", help="fp32, bf16, fp16 or auto, which is the default."),
)

the_epochs = click.option(
    "--epochs", type=click.IntRange(min=1), required=True, help="Passes over the data."
)


def the_training(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a training that all such commands have."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def arguments_of(
    optimizer_name: str | None,
    scheduler_name: str | None,
    encoders: Sequence[tuple[str, str]],
    others: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the options of a training are as keyword arguments of it.

    Args:
        optimizer_name: written as `package.module:name`.
        scheduler_name: likewise.
        encoders: modality and path, in pairs.
        others: of the command, by the names of their arguments; None is left to its default.
    """
    given = {name: value for name, value in others.items() if value is not None}
    given["anatomy"] = together("--anatomy", encoders) or None
    for argument, written in (("optimizer", optimizer_name), ("scheduler", scheduler_name)):
        if written is not None:
            given[argument] = function_from(written)
    return given
