"""Shows the examples of docstrings as code: griffe knows the section by its plural only."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_HEADING = re.compile(r"^Example:$", re.MULTILINE)


class Examples(Extension):
    """Gives the section `Example` the name that griffe knows."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rename the section in the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = _HEADING.sub("Examples:", obj.docstring.value)
