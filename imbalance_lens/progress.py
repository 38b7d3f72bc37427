"""Progress bars, where somebody is there to see them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any


def bar(batches: Iterable[Any] | None = None, *, show: bool | None = None, **settings: Any) -> Any:
    """Return a bar of tqdm around an iterable, or to be moved by hand.

    Args:
        batches: what to go through, if anything.
        show: whether to show it. Default: where stderr is a terminal, and in notebooks, with or
            without ipywidgets.
        settings: of the bar, as tqdm takes them.
    """
    notebook = _in_notebook()
    if show is None:
        show = notebook or (sys.stderr is not None and sys.stderr.isatty())
    # tqdm.auto would choose the same, and warn where ipywidgets are not installed.
    if notebook and show and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    return tqdm(batches, disable=not show, **settings)


def _in_notebook() -> bool:
    """Say whether this runs in a kernel of Jupyter, which has imported IPython by itself."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
