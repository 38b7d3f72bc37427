"""A training that is killed at random moments and goes on: run as a module, it counts its kills.

`python -m tests.recipes.resumed --kills 20` prints how often a training was killed, and whether
its end was, bit by bit, that of one that was not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

import recipes
from recipes.mlb import Mlb
from recipes.ogm_ge import OgmGe
from recipes.opm import Opm

from .trainings import AudioVisual, loader_of, model_of, sgd

EPOCHS = 4


def recipes_of(kind: str) -> list[recipes.Recipe]:
    if kind == "mlb":
        return [Mlb(), Opm(lag=1, p_exe=0.7)]
    return [Opm(lag=1), OgmGe()]


def trained(kind: str, folder: Path | None, **settings: Any) -> dict[str, Any]:
    """Everything a training ends with, but for times."""
    made: list[torch.optim.Optimizer] = []

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        made.append(sgd(parameters, lr=0.02))
        return made[0]

    given: dict[str, Any] = {
        "loader": loader_of(4, 32, shuffle=True),
        "val_loader": loader_of(7, 20),
        "epochs": EPOCHS,
        "optimizer": optimizer,
        "scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.7),
        "checkpoint": folder,
        "checkpoint_every": 2,
        "device": "cpu",
        "keep": "last",
        **settings,
    }
    torch.manual_seed(17)
    model = model_of(AudioVisual, dropout=0.3, norm=True)
    torch.manual_seed(17)
    fit = recipes.apply(recipes_of(kind), model, **given)
    history = fit.history.drop_vars(["seconds", "throughput"])
    return {
        "model": model.state_dict(),
        "heads": {name: head.state_dict() for name, head in fit.heads.items()},
        "optimizer": made[0].state_dict(),
        "history": {str(name): torch.tensor(v.values) for name, v in history.data_vars.items()},
        "attributes": history.attrs["settings"],
        "best": fit.best_epoch,
    }


def equal(one: Any, other: Any) -> bool:
    """Whether two results are the same, NaN included."""
    if isinstance(one, torch.Tensor):
        nan = torch.nan_to_num if one.is_floating_point() else torch.clone
        missing = torch.equal(one.isnan(), other.isnan())
        return one.dtype == other.dtype and missing and torch.equal(nan(one), nan(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def killed_until_done(kind: str, folder: Path, kills: int, seed: int) -> int:
    """Start a training anew until it ends; return how often it was killed on the way."""
    draw, done = random.Random(seed), 0
    while True:
        with subprocess.Popen(
            [sys.executable, "-m", "tests.recipes.resumed", "--train", kind, "--folder", folder],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()  # imports are done
            if done < kills:
                for _ in range(draw.randrange(1, 4)):
                    process.stdout.readline()
                time.sleep(draw.uniform(0, 0.01))
                process.kill()
            process.stdout.read()
        code = process.returncode
        if code == 0:
            return done
        if code != -signal.SIGKILL:
            raise RuntimeError(f"the training ended with {code}")
        done += 1


def run(kind: str, folder: Path) -> None:
    """Train, telling of every step, and keep the end in the folder."""
    torch.set_num_threads(1)
    print("ready", flush=True)

    class Telling(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            print("step", flush=True)
            time.sleep(0.005)
            return super().step(closure)

    Telling.__name__ = "SGD"  # the name is part of what a checkpoint has to fit
    torch.optim.SGD = Telling
    torch.save(trained(kind, folder / "run"), folder / "end.pt")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kind", default="ogm_ge")
    parser.add_argument("--train")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.train:
        run(given.train, given.folder)
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        kills = killed_until_done(given.kind, Path(place), given.kills, seed=0)
        whole = trained(given.kind, None)
        alike = equal(torch.load(Path(place) / "end.pt"), whole)
    print(f"{kills} kills; bit-identical: {alike}")


if __name__ == "__main__":
    main()
