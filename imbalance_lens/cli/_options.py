"""Options that several commands have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..checks import unique


class Written(click.ParamType):
    """The text `package.module:name`."""

    name = "module:name"
    _FORM = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        """Return the text; complain if it is no such."""
        if not self._FORM.fullmatch(value):
            self.fail(f"{value!r} is not of the form package.module:name.", param, ctx)
        return value


class Pair(click.ParamType):
    """The text `left=right`, given once or more.

    Args:
        left: what is on the left, as the help calls it.
        right: what is on the right.
    """

    def __init__(self, left: str, right: str) -> None:
        self.name = f"{left}={right}"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """Return both sides; complain if one is missing."""
        left, _, right = str(value).partition("=")
        if not left or not right:
            self.fail(f"{value!r} is not of the form {self.name}.", param, ctx)
        return left, right


def together(option: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs that an option was given.

    Raises:
        SettingError: two have the same left side.
    """
    found: dict[str, str] = {}
    for left, right in pairs:
        unique(option, left, found)
        found[left] = right
    return found


FILE = click.Path(path_type=Path)

the_model = click.option(
    "--model",
    "model_name",
    type=Written(),
    required=True,
    help="A function without arguments that returns the model.",
)
the_data = click.option(
    "--data",
    "data_name",
    type=Written(),
    required=True,
    help="The loader, or a function without arguments that returns it.",
)
the_encoders = click.option(
    "--anatomy",
    "encoders",
    type=Pair("modality", "path"),
    multiple=True,
    help="A modality and the path of its encoder, as audio=audio_net; once per modality. "
    "Without it, who is who is found.",
)
the_trust = click.option(
    "--trust-checkpoint",
    "trust",
    is_flag=True,
    help="Also unpickle arbitrary objects, which can run any code. Only for files whose maker "
    "you trust.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
