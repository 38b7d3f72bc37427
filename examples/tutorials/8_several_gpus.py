# %% [markdown]
# # 8. Several GPUs with torchrun
#
# [`recipes.apply`](../training.md#several-gpus) trains on as many processes as torchrun starts, one
# per GPU, without another line in the script. This page does it with two processes on the CPU, so
# that it can be tried anywhere, and looks whether both end with the same weights. That is no matter
# of course: a recipe that measures who is ahead on its own share of the batch, and scales gradients
# by that, silently makes the copies of the model drift apart.
#
# ## The script
#
# Nothing in it knows of processes, but for the last lines, which are for this page: each rank says
# what it ended with.

# %%
import subprocess
import sys
from pathlib import Path

out = Path("out/8_several_gpus")
out.mkdir(parents=True, exist_ok=True)

script = """\
import os

import torch
from torch.utils.data import DataLoader, Subset

import recipes
from imbalance_lens.datasets import AVDigits
from imbalance_lens.models import LateFusion

torch.manual_seed(0)
model = LateFusion.small(["audio", "visual"], classes=10)
digits = Subset(AVDigits("train", visual_noise=0.5), range(640))
loader = DataLoader(digits, batch_size=32, shuffle=True)
held_out = DataLoader(AVDigits("val", visual_noise=0.5), batch_size=100)

fit = recipes.apply(
    "ogm_ge",
    model,
    loader,
    val_loader=held_out,
    epochs=2,
    optimizer=lambda parameters: torch.optim.SGD(
        parameters, lr=0.02, momentum=0.9
    ),
    seed=0,
    device="cpu",  # without this line: a GPU per process, where there are any
    progress=False,
)

weights = torch.cat([p.detach().flatten() for p in fit.model.parameters()])
coefficient = fit.history["step_coefficient"].values
rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
print(
    f"rank {rank} of {world}: {fit.history.sizes['step']} steps, "
    f"sum of weights {weights.double().sum().item():.15f}, "
    f"of coefficients {coefficient.sum().item():.15f}",
    flush=True,
)
torch.save(weights, f"weights_{rank}_of_{world}.pt")
"""
(out / "train.py").write_text(script)

# %% [markdown]
# ## Two processes
#
# On the command line that is `torchrun --standalone --nproc-per-node 2 train.py`. `torchrun` is
# short for the module `torch.distributed.run`:

# %%
torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
done = subprocess.run(
    [*torchrun, "--nproc-per-node", "2", "train.py"],
    cwd=out,
    capture_output=True,
    text=True,
    check=True,
)
print(done.stdout)

# %% [markdown]
# Each rank saw half of the examples, and both applied the same coefficients: scores are summed over
# the ranks before a coefficient is made of them, and the noise of OGM-GE comes from a generator
# that all ranks share. Equal sums could be chance; equal bits are not:

# %%
import torch

first = torch.load(out / "weights_0_of_2.pt")
second = torch.load(out / "weights_1_of_2.pt")
print(
    f"{first.numel():,} weights, bitwise the same:", torch.equal(first, second)
)

# %% [markdown]
# ## What two processes do differently from one
#
# `batch_size` is that of a rank, so two ranks take half as many steps, each over twice the
# examples. To compare with a single process, give that the doubled batch size. It will not be the
# same to the last bit, since BatchNorm sees the batch of its rank and sums are added in another
# order. The history is that of all ranks together, validation divides its examples without
# repeating one, and only rank 0 writes files, logs and progress.
#
# ## Without a script
#
# `torchrun ... -m imbalance_lens train --recipe ogm_ge ...` takes recipe, model and data by name;
# [the command line](../cli.md#train) has the options.
#
# In a loop of your own, `recipes.attach` takes the model inside of `DistributedDataParallel` or
# without it, on every rank; [loops of your own](../own_loop.md) has what to mind there, and
# [events](../events.md#sharded-models) what holds for FSDP2.
