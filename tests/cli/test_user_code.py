"""What goes wrong in the user's files is one sentence too, and says where."""

import sys
import traceback
from pathlib import Path

import pytest

from imbalance_lens.cli._complaints import complaint

from .conftest import Ask, Said

MODEL = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.ear, self.eye, self.head = nn.Linear(3, 4), nn.Linear(5, 4), nn.Linear(8, 2)

    def forward(self, audio, visual):
        both = torch.cat([self.ear(audio), self.eye(visual)], 1)
        return self.head(both)


def batches(labels=2, visual=5):
    draw = torch.Generator().manual_seed(0)
    shapes = (40, 3), (40, visual)
    return [(*(torch.randn(*s, generator=draw) for s in shapes), torch.arange(40) % labels)]


"""


@pytest.fixture
def diagnosed(ask: Ask, project: Path):
    """Diagnose with the model and the data that the lines below those above define."""

    def diagnose_with(code: str, model: str = "Net", data: str = "data") -> Said:
        (project / "net.py").write_text(MODEL + code)
        sys.modules.pop("net", None)
        return ask("diagnose", "--model", f"net:{model}", "--data", f"net:{data}")

    return diagnose_with


def line_of(code: str) -> int:
    return (MODEL + code).splitlines().index(code.splitlines()[-1]) + 1


def test_the_model_above_is_fine(diagnosed):
    assert diagnosed("data = batches()").code == 0


def test_a_factory_that_raises_is_named_with_its_line(diagnosed):
    code = "def build():\n    raise ValueError('no weights today')"
    sentence = diagnosed(code, model="build").sentence()
    assert sentence.startswith(f"net.py:{line_of(code)} raised ValueError: no weights today (")
    assert sentence.endswith("--debug COMMAND shows the traceback.)")


def test_an_error_inside_torch_names_the_line_that_called_it(diagnosed):
    line = (
        MODEL.splitlines().index("        both = torch.cat([self.ear(audio), self.eye(visual)], 1)")
        + 1
    )
    sentence = diagnosed("data = batches(visual=6)").sentence()
    assert sentence.startswith(f"net.py:{line} raised RuntimeError: mat1 and mat2 shapes")


def test_data_that_raises_on_the_way(diagnosed):
    code = "def data():\n    yield from batches()\n    yield 1 / 0"
    sentence = diagnosed(code).sentence()
    assert sentence.startswith(f"net.py:{line_of(code)} raised ZeroDivisionError: division by zero")


def test_data_that_raises_in_a_worker_of_a_loader(diagnosed):
    code = (
        "class Data(torch.utils.data.Dataset):\n"
        "    def __len__(self):\n        return 4\n"
        "    def __getitem__(self, index):\n        return self.missing\n"
        "loader = torch.utils.data.DataLoader(Data(), num_workers=1)\n"
    )
    line = (MODEL + code).splitlines().index("        return self.missing") + 1
    sentence = diagnosed(code, data="loader").sentence()
    assert sentence.startswith(
        f"net.py:{line} raised AttributeError: 'Data' object has no attribute 'missing' ("
    )


def test_a_file_that_the_user_s_code_does_not_find(diagnosed):
    code = "def data():\n    return open('no.csv')"
    sentence = diagnosed(code).sentence()
    assert sentence.startswith(f"net.py:{line_of(code)} raised FileNotFoundError: [Errno 2]")


def test_a_module_that_imports_what_is_not_installed(diagnosed):
    code = "import not_installed_anywhere"
    sentence = diagnosed(code).sentence()
    assert sentence.startswith(f"net.py:{line_of(code)} raised ModuleNotFoundError: No module")


def test_a_module_that_is_no_python(diagnosed):
    code = "def data(:"
    sentence = diagnosed(code).sentence()
    assert sentence.startswith(f"net.py:{line_of(code)} raised SyntaxError: ")


def test_a_message_of_many_lines_is_told_in_one(diagnosed):
    sentence = diagnosed("def build():\n    raise ValueError('a\\n' * 999)", "build").sentence()
    assert "\n" not in sentence
    assert len(sentence) < 700


def test_a_module_that_is_not_there(ask: Ask, project: Path):
    said = ask("diagnose", "--model", "nowhere:build", "--data", "mine:data")
    assert said.sentence() == (
        f"There is no module 'nowhere', neither installed nor in {project}. "
        "Run the command in the folder that holds it."
    )
    said = ask("diagnose", "--model", "mine.deeper:build", "--data", "mine:data")
    assert said.sentence().startswith("There is no module 'mine.deeper'")


def test_a_name_that_is_not_in_the_module(ask: Ask, project: Path):
    said = ask("diagnose", "--model", "mine:biuld", "--data", "mine:data")
    assert said.sentence() == (
        "No object in mine named 'biuld'. Did you mean 'build'? Known: build, data."
    )


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("build = 3", "net:build is an int. Name a function without arguments."),
        ("def build(width): ...", "net:build cannot be called without arguments (missing"),
        ("def build(): return {}", "net:build gave a dict, not a torch.nn.Module."),
    ],
)
def test_a_factory_that_gives_no_model(diagnosed, code: str, sentence: str):
    assert diagnosed(code, "build").sentence().startswith(sentence)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def data(): return 3", "net:data gave an int, not an iterable of batches."),
        ("def data(n): ...", "net:data cannot be called without arguments (missing"),
        ("data = 3", "net:data is an int. Name a function without arguments."),
        ("data = []", "The loader gave no batch"),
        ("data = batches(labels=3)", "Label 2 is out of range: the model gives 2 logits"),
        ("data = [torch.ones(4, 3)]", "Net.forward"),
    ],
)
def test_data_that_cannot_be_used(diagnosed, code: str, sentence: str):
    assert diagnosed(code).sentence().startswith(sentence)


def test_logits_that_are_not_numbers_are_found_and_no_error(diagnosed):
    code = "data = batches()\ndata[0][0][3] = float('nan')"
    said = diagnosed(code)
    assert said.code == 0
    assert "1 with all modalities" in said.out.replace("\n  ", " ")


def test_an_error_without_a_line_of_the_user_s_names_the_innermost_one():
    with pytest.raises(AttributeError) as caught:
        traceback.extract_tb(3)  # pyright: ignore[reportArgumentType]
    inside = caught.value.with_traceback(caught.tb.tb_next)  # as if nobody had called it
    assert complaint(inside).startswith(f"{traceback.__file__}:")


def test_a_batch_of_another_shape_is_numbered(diagnosed):
    said = diagnosed("data = [*batches(), *batches(visual=6)]")
    assert "net.py:11 raised RuntimeError" in said.err
    assert "(with batch 2 of the loader)" in said.err
