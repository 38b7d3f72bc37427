"""Training with several recipes over several seeds, and what came of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

from imbalance_lens import checks
from imbalance_lens.errors import ImbalanceLensError, SettingError, TrainingError
from imbalance_lens.progress import bar
from imbalance_lens.registry import unknown

from .._training.plan import device_for
from .._values import described
from .choices import Compared, choices_of
from .files import RunFiles
from .protocol import data_hashes, versions
from .result import Comparison, Finished, comparison_of
from .run import Bench, Loaders, MakeLoaders, MakeModel

_TRAINING = (
    *("optimizer", "scheduler", "schedule_by", "loss", "readout", "anatomy", "split", "logits"),
    *("device", "precision", "accumulate", "clip_norm", "channels_last", "compile", "patience"),
    "keep",
)
"""What of `recipes.apply` all runs may have in common."""

_Name = tuple[Any, str, Mapping[str, Any]]
"""What is run, which part of it, and under which protocol: as `RunFiles` takes it."""

_Found = dict[str, Any] | Exception


def compare(
    compared: Compared,
    model_factory: MakeModel,
    loaders: Loaders | MakeLoaders,
    *,
    epochs: int,
    seeds: int | Iterable[int] = 5,
    folder: str | os.PathLike[str] | None = None,
    flops: bool = True,
    progress: bool | None = None,
    **training: Any,
) -> Comparison:
    """Train a model with each of several recipes, over several seeds, and measure all alike.

    At one seed every recipe begins with the same weights and the same order of the examples. The
    recipe 'none', plain joint training, is always among them: costs are ratios to it, and tests
    are paired with it. Nothing is chosen by the test data: without validation data every training
    runs to its end, with it the model has the weights of its best epoch by validation.

    A run that fails, for what the recipe needs and the model lacks, say, costs its own numbers
    only: they are NaN, and `failures` has the reason.

    Args:
        compared: each a name, a list for recipes that go together, a recipe made with settings of
            its own, or (one of these, settings); or a mapping of label -> such. A recipe with a
            setting `val` gets the loader of validation examples, unless it is set.
        model_factory: a function without arguments that makes a new model; called for each run
            under its seed.
        loaders: "train", "test" and, where wanted, "val", each an iterable of batches as
            `recipes.apply` takes it; or a function of the seed that returns these. Held-out
            examples must be the same whenever they are read.
        epochs: passes over the data in each training.
        seeds: how many, counted from 0, or which.
        folder: where each finished run is kept; the same call made again goes on with the next.
        flops: count the operations too, in one further training of each recipe, at the first
            seed.
        progress: show a bar, a run at a time. Default: in a terminal or a notebook.
        training: further arguments of `recipes.apply`, the same for all: anatomy, optimizer,
            scheduler, schedule_by, loss, readout, split, logits, device, precision, accumulate,
            clip_norm, channels_last, compile, patience, keep.

    Returns:
        The numbers, `dataset`, over (recipe, seed, metric), and `table` for text, CSV and LaTeX.

    Raises:
        UnknownNameError: no recipe, setting or argument of a name.
        SettingError: a value that is not allowed.
        BatchError: held-out examples without class indices as labels.
        CheckpointError: the folder holds runs of another comparison.
        TrainingError: no run at all has finished.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> loaders = {"train": planted("audio")[1], "test": planted("audio", seed=1)[1]}
        >>> found = compare(["ogm_ge"], lambda: planted("audio")[0], loaders, epochs=1, seeds=2)
        >>> found.dataset["value"].dims
        ('recipe', 'seed', 'metric')
    """
    choices = choices_of(compared)
    chosen_seeds = _seeds(seeds)
    checks.whole("epochs", epochs)
    _check(training)
    bench = Bench(model_factory, loaders, epochs, training)
    common = {
        "epochs": epochs,
        "training": described(training),
        "device": device_for(training.get("device", "auto")).type,
        "versions": versions(),
    }
    files = RunFiles(folder)
    rows: dict[tuple[str, int], Finished] = {}
    counted: dict[str, float] = {}
    by_seed: dict[str, Any] = {}
    total = len(choices) * (len(chosen_seeds) + flops)
    with bar(show=progress, total=total, desc="compare") as shown:
        for seed in chosen_seeds:
            data = bench.data(seed)
            own = {
                "data": data_hashes(data, training.get("split")),
                "weights_at_start": bench.start(seed),
            }
            by_seed[str(seed)] = own
            protocol = {**common, "seed": seed, **own}
            # Operations first: what is slow in a process only once is then not timed.
            for choice in choices if flops and seed == chosen_seeds[0] else ():
                shown.set_postfix_str(f"operations of {choice.label}")
                name = (choice.described(), f"flops-seed{seed}", protocol)
                found = _once(files, name, partial(bench.flops, choice, seed, data))
                counted[choice.label] = _operations(found)
                shown.update()
            for choice in choices:
                shown.set_postfix_str(f"{choice.label}, seed {seed}")
                name = (choice.described(), f"seed{seed}", protocol)
                found = _once(files, name, partial(bench.measure, choice, seed, data))
                rows[choice.label, seed] = _finished(found)
                shown.update()
    if not any(run.modalities for run in rows.values()):
        reason = next(run.failure for run in rows.values())
        raise TrainingError(f"No run of the comparison has finished. The first one says: {reason}")
    return comparison_of(
        choices,
        chosen_seeds,
        rows,
        counted,
        protocol={**common, "flops_counted_at_seed": chosen_seeds[0], "by_seed": by_seed},
    )


def _once(files: RunFiles, name: _Name, make: Callable[[], dict[str, Any]]) -> _Found:
    """Return what the file of a run holds, or make and keep it; or why it could not be made."""
    found = files.load(*name)
    if found is None:
        try:
            found = make()
        except Exception as error:  # one recipe's failure is not to cost the others' runs
            return error
        files.save(*name, found)
    return found


def _finished(found: _Found) -> Finished:
    return Finished(failure=_reason(found)) if isinstance(found, Exception) else Finished(**found)


def _operations(found: _Found) -> float:
    # Where counting fails, the run itself does too, and says why.
    return float("nan") if isinstance(found, Exception) else found["flops"]


def _reason(error: Exception) -> str:
    own = isinstance(error, ImbalanceLensError)
    return str(error) if own else f"{type(error).__name__}: {error}"


def _seeds(seeds: int | Iterable[int]) -> Sequence[int]:
    if not isinstance(seeds, Iterable):
        checks.whole("seeds", seeds)
        return range(seeds)
    chosen: list[int] = []
    for seed in seeds:
        checks.whole("a seed", seed, 0)
        checks.unique("seeds", str(seed), [str(each) for each in chosen])
        chosen.append(int(seed))  # a NumPy integer is no JSON
    if not chosen:
        raise SettingError("There are no seeds. Give one at least; tests need two or more.")
    return chosen


def _check(training: Mapping[str, Any]) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError(
            "A comparison runs in one process, and torchrun started several. Start it with python; "
            "other seeds can run beside it, in folders of their own."
        )
    for name in training:
        if name not in _TRAINING:
            raise unknown("argument of recipes.compare", name, _TRAINING)
    if isinstance(training.get("optimizer"), Optimizer):
        raise SettingError(
            "optimizer is made already, for one model. Give a function of parameters that makes "
            "one, such as functools.partial(torch.optim.SGD, lr=0.01)."
        )
    loss = training.get("loss")
    if isinstance(loss, torch.nn.Module) and any(True for _ in loss.parameters()):
        raise SettingError(
            "loss has parameters, which each training would change for the next. Give a function."
        )
