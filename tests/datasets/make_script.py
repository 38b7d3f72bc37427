"""The script that made the bundled sounds, as a module."""

import importlib.util
from pathlib import Path
from types import ModuleType

PATH = Path(__file__).parents[2] / "examples" / "make_av_digits.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_av_digits", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
