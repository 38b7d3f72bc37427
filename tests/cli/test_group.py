"""The command above all others."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import click
import pytest

import imbalance_lens
from imbalance_lens.cli import main
from imbalance_lens.cli._group import COMMANDS

from .conftest import Ask

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "imbalance_lens")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


def test_help_lists_every_command(ask: Ask):
    said = ask("--help")
    assert said.code == 0
    assert set(COMMANDS.names()) == {
        "anatomy",
        "compare",
        "demo",
        "diagnose",
        "figures",
        "probes",
        "report",
        "scan",
        "train",
    }
    for name in COMMANDS.names():
        assert f"\n  {name} " in said.out


@pytest.mark.parametrize("name", COMMANDS.names())
def test_every_command_helps_and_says_what_each_option_is_for(name: str, ask: Ask):
    said = ask(name, "--help")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    command = COMMANDS.get(name)
    options = [part for part in command.params if isinstance(part, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_help_imports_nothing_that_takes_long():
    heavy = ("torch", "xarray", "pandas", "scipy", "sklearn")
    names = list(COMMANDS.names())
    code = f"""
import sys
from click.testing import CliRunner
from imbalance_lens.cli import main
for name in {names}:
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
print(*(name for name in {heavy} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout.split() == []


def test_help_comes_at_once():
    took = []
    for _ in range(3):  # the fastest, for the machine may have other things to do
        start = time.perf_counter()
        done = run("--help")
        took.append(time.perf_counter() - start)
        assert done.returncode == 0
    assert min(took) < 2


def test_the_version_is_the_package_s(ask: Ask):
    assert ask("--version").out == f"imbalance-lens, version {imbalance_lens.__version__}\n"


def test_an_unknown_command_is_wrong_usage_and_one_that_looks_alike_is_named(ask: Ask):
    said = ask("scna", "run.pt")
    assert said.code == 2
    assert "No command named 'scna'. Did you mean 'scan'?" in said.err


def test_an_unknown_option_is_wrong_usage(ask: Ask):
    assert ask("scan", "--treshold", "1").code == 2
    assert ask("--verbose", "scan").code == 2


def test_nothing_at_all_gets_the_help(ask: Ask):
    said = ask()
    assert said.code == 2
    assert "Usage: " in said.out + said.err


def test_errors_are_one_sentence_and_debug_shows_the_traceback(tmp_path: Path):
    missing = str(tmp_path / "missing.pt")
    short = run("scan", missing)
    assert short.returncode == 1
    assert short.stdout == ""
    assert short.stderr == f"Error: There is no file {missing}. Check the path.\n"
    long = run("--debug", "scan", missing)
    assert long.returncode == 1
    assert "Traceback (most recent call last)" in long.stderr
    assert f"CheckpointError: There is no file {missing}." in long.stderr


def test_control_c_ends_it_in_one_word_with_the_exit_code_of_shells(tmp_path: Path):
    (tmp_path / "slow.py").write_text(
        "import time\n\ndef build():\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    words = ["diagnose", "--model", "slow:build", "--data", "slow:build"]
    with subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who started the tests in the background has it ignored, which a child takes over.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == ("", "Interrupted.\n")


def test_a_reader_that_stops_early_is_met_with_silence():
    script = f"{' '.join(COMMAND)} probes --json | true"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_warning_of_the_library_is_a_note_without_a_place_in_the_code(ask: Ask, project: Path):
    (project / "bypassed.py").write_text(BYPASSED)
    who = ("--anatomy", "a=a", "--anatomy", "b=b")
    said = ask("diagnose", "--model", "bypassed:Net", "--data", "bypassed:data", *who)
    assert said.code == 0
    assert said.err.startswith("Note: The input 'extra' reaches the logits past a, b")
    assert "bypassed.py" not in said.err


BYPASSED = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)
        self.head = nn.Linear(4, 2)

    def forward(self, a, b, extra):
        return self.head(torch.cat([self.a(a), self.b(b)], 1)) + extra


def data():
    draw = torch.Generator().manual_seed(0)
    a, b, extra = (torch.randn(40, n, generator=draw) for n in (3, 3, 2))
    return [(a, b, extra, torch.arange(40) % 2)]
"""


def test_the_entry_point_is_the_group():
    assert isinstance(main, click.Group)
