"""Options that several commands have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click


class Written(click.ParamType):
    """The text `package.module:name`."""

    name = "module:name"
    _FORM = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        """Return the text; complain if it is no such."""
        if not self._FORM.fullmatch(value):
            self.fail(f"{value!r} is not of the form package.module:name.", param, ctx)
        return value


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
the_trust = click.option(
    "--trust-checkpoint",
    "trust",
    is_flag=True,
    help="Also unpickle arbitrary objects, which can run any code. Only for files whose maker "
    "you trust.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
