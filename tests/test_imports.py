"""The house rules that can be read off the source: who imports what, when, and who places hooks."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations
from pathlib import Path

import grimp
import pytest

import imbalance_lens

REPOSITORY = Path(__file__).parents[1]
LIBRARY = sorted(
    p for name in ("imbalance_lens", "recipes") for p in (REPOSITORY / name).rglob("*.py")
)
OWN_PYTHON = sorted(
    path
    for name in ("imbalance_lens", "recipes", "tests", "examples", "benchmarks")
    for path in (REPOSITORY / name).rglob("*.py")
)
HEAVY = (
    "xarray",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "captum",
    "torchvision",
    "torchaudio",
)
HOOK = re.compile(r"register_(\w+_)?hook")
TOO_BROAD = {"Exception", "BaseException", "KeyError", "AssertionError"}


def hook_placements(tree: ast.Module) -> Iterator[int]:
    """Lines that name a method which places a hook."""
    for node in ast.walk(tree):
        name = getattr(node, "attr", getattr(node, "id", ""))
        if isinstance(node, ast.Attribute | ast.Name) and HOOK.fullmatch(name):
            yield node.lineno


def asserts(tree: ast.Module) -> Iterator[int]:
    """Lines with an assert statement."""
    return (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert))


def broad_raises(tree: ast.Module) -> Iterator[int]:
    """Lines that raise what no user can tell from a mistake of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(raised, ast.Name) and raised.id in TOO_BROAD:
                yield node.lineno


def imports_of_more_than_torch(tree: ast.Module) -> Iterator[int]:
    """Lines of a formula file that import anything but torch, the standard library and checks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            names = [node.module] if node.module else [alias.name for alias in node.names]
        else:
            continue
        roots = {name.split(".")[0] for name in names}
        if roots - {"torch", "checks", "errors", *sys.stdlib_module_names}:
            yield node.lineno


def offenders(rule: Callable[[ast.Module], Iterator[int]], files: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in files
        for line in rule(ast.parse(path.read_text()))
    ]


def acquaintances(graph: grimp.ImportGraph, package: str) -> list[tuple[str, str]]:
    """Pairs of public files of a package of which the first imports the second, however far off."""
    files = sorted(name for name in graph.find_children(package) if not graph.find_children(name))
    public = [name for name in files if not name.removeprefix(f"{package}.").startswith("_")]
    return [(a, b) for a, b in permutations(public, 2) if graph.chain_exists(a, b)]


@cache
def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after the code."""
    ask = (
        f"{code}\nimport sys; print(*(n for n in {(*HEAVY, 'torch', 'numpy')} if n in sys.modules))"
    )
    command = [sys.executable, "-c", ask]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_library_imports_nothing_heavy_and_not_even_torch():
    assert loaded("import imbalance_lens") == set()


def test_probes_and_formulas_import_torch_and_nothing_heavier():
    code = """
import importlib, pkgutil
from imbalance_lens import formulas, probes
for package in (formulas, probes):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
"""
    assert loaded(code) == loaded("import torch")


@pytest.mark.parametrize("name", ["Lens", "find_anatomy", "load_weights", "scan_checkpoint"])
def test_working_on_a_model_imports_torch_and_nothing_heavier(name: str):
    assert loaded(f"from imbalance_lens import {name}") == loaded("import torch")


def test_reports_open_without_torch():
    assert "torch" not in loaded("from imbalance_lens import load_report")


@pytest.mark.parametrize("name", imbalance_lens.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(imbalance_lens, name) is not None


def test_only_the_hooks_folder_places_hooks():
    elsewhere = [path for path in LIBRARY if path.parent.name != "hooks"]
    assert offenders(hook_placements, elsewhere) == []


@pytest.mark.parametrize("rule", [asserts, broad_raises])
def test_a_user_gets_errors_that_say_whose_they_are(rule: Callable[[ast.Module], Iterator[int]]):
    helpers_of_tests = REPOSITORY / "imbalance_lens" / "testing.py"
    assert offenders(rule, [path for path in LIBRARY if path != helpers_of_tests]) == []


def test_formulas_import_only_torch_and_the_standard_library():
    formulas = [path for path in LIBRARY if path.parent.name == "formulas"]
    assert offenders(imports_of_more_than_torch, formulas) == []


@pytest.mark.parametrize("package", ["imbalance_lens.probes", "recipes"])
def test_no_probe_and_no_recipe_knows_another(package: str):
    graph = grimp.build_graph(
        "imbalance_lens", "recipes", cache_dir=None, exclude_type_checking_imports=True
    )
    assert acquaintances(graph, package) == []


def test_an_acquaintance_through_a_shared_file_is_noticed():
    graph = grimp.ImportGraph()
    for name in ("probes", "probes.a", "probes.b", "probes.c", "probes._shared"):
        graph.add_module(name)
    graph.add_import(importer="probes.a", imported="probes._shared")
    graph.add_import(importer="probes.b", imported="probes._shared")
    assert acquaintances(graph, "probes") == []
    graph.add_import(importer="probes._shared", imported="probes.c")
    assert acquaintances(graph, "probes") == [("probes.a", "probes.c"), ("probes.b", "probes.c")]


def test_no_file_is_longer_than_300_lines():
    lengths = {p.relative_to(REPOSITORY): len(p.read_text().splitlines()) for p in OWN_PYTHON}
    assert {str(path): length for path, length in lengths.items() if length > 300} == {}


@pytest.mark.parametrize(
    ("rule", "guilty", "innocent"),
    [
        (hook_placements, "m.register_forward_pre_hook(f)", "m.register_buffer('b', t)"),
        (hook_placements, "tensor.register_hook(f)", "hook(tensor)"),
        (
            hook_placements,
            "from a import b\nregister_module_forward_hook(f)",
            "x = 'register_hook'",
        ),
        (asserts, "def f(x):\n    assert x", "def f(x):\n    check(x)"),
        (broad_raises, "raise KeyError(name)", "raise UnknownNameError(name)"),
        (broad_raises, "raise Exception", "raise"),
        (imports_of_more_than_torch, "import numpy as np", "import torch.nn.functional as F"),
        (imports_of_more_than_torch, "from scipy.stats import t", "from math import log"),
        (imports_of_more_than_torch, "from ..schema import dataset", "from ..checks import one_of"),
        (imports_of_more_than_torch, "from .. import registry", "from .. import checks"),
    ],
)
def test_a_rule_tells_the_guilty_from_the_innocent(
    rule: Callable[[ast.Module], Iterator[int]], guilty: str, innocent: str
):
    assert len(list(rule(ast.parse(guilty)))) == 1
    assert list(rule(ast.parse(innocent))) == []
