# %% [markdown]
# # 4. All recipes compared
#
# Which recipe helps? That depends on the model and the data, and one training of each tells little:
# other first weights alone move the numbers. So `recipes.compare` trains with every recipe from the
# same weights, over several seeds, and measures all of them alike.
#
# ## What is compared
#
# The bundled digits, a third of them to learn from, with images so noisy that the sound is the
# easier one; and a network that is small enough to be trained dozens of times while these pages
# are built. `build` is called anew for each run, under the seed of the run.

# %%
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

import recipes
from imbalance_lens import figures
from imbalance_lens.datasets import AVDigits
from imbalance_lens.models import ConcatFusion, LateFusion

out = Path("out/4_compare")
out.mkdir(parents=True, exist_ok=True)


def encoder(pixels):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, 32), nn.BatchNorm1d(32), nn.ReLU()
    )


def build():
    encoders = {"audio": encoder(32 * 32), "visual": encoder(8 * 8)}
    return LateFusion(
        encoders, ConcatFusion({"audio": 32, "visual": 32}, classes=10)
    )


def every(step, part):
    data = AVDigits(part, visual_noise=1.0)
    return Subset(data, range(0, len(data), step))


loaders = {
    "train": DataLoader(every(3, "train"), batch_size=32, shuffle=True),
    "val": DataLoader(every(3, "val"), batch_size=200),
    "test": DataLoader(every(1, "test"), batch_size=200),
}

# %% [markdown]
# A comparison takes names, lists of recipes that go together, and pairs of one of these and its
# settings. Here it is all that there are for late fusion, with their defaults, and one pair;
# `greedy` is for networks that gate each other. `mslr`, which gives each encoder a learning rate of
# its own, is told by which factors: by default, by none.

# %%
compared = {name: name for name in recipes.names() if name != "greedy"}
compared["mslr"] = ("mslr", {"rates": {"audio": 0.5, "visual": 2.0}})
compared["opm + ogm_ge"] = ["opm", "ogm_ge"]

found = recipes.compare(
    compared,
    build,
    loaders,
    epochs=5,
    seeds=3,
    optimizer=partial(torch.optim.SGD, lr=0.02, momentum=0.9),
    flops=False,
)
accuracies = ["accuracy", "linear_probe audio", "linear_probe visual"]
print(found.table(metrics=[*accuracies, "ratio audio"]))

# %% [markdown]
# ## How to read the table
#
# Each model has the weights of its best epoch on the validation data; nothing is chosen by the test
# data. A cell is the mean over the seeds and their standard deviation. Bold is the best of a
# column; a star marks a difference to `none`, plain joint training, with p < 0.05. Among fifteen
# rows, one that does nothing may well have a star; and three seeds miss a lot.
#
# - **accuracy** is that of the whole model on the test data. Where one modality is nearly enough,
#   it hardly moves, whatever happens to the other one.
# - **probe** is what a fresh linear classifier gets from the frozen features of one encoder. This
#   is where imbalance shows. `unimodal` trains each encoder alone, under a head of its own, and
#   is the reference: what this encoder can learn from this data in as many epochs.
# - **ratio** compares the modalities' true-class probabilities under the model's own head; 1 is
#   even.
#
# In words, for the encoder that is behind:

# %%
probed = found.dataset["value"].sel(metric="linear_probe visual").mean("seed")
alone, joint = (probed.sel(recipe=name).item() for name in ("unimodal", "none"))
print(f"the encoder of visual, trained alone:       {alone:.1%}")
print(f"the same encoder, plainly trained jointly:  {joint:.1%}")
print("recipes from which it comes out better, best first:")
for name, value in probed.to_series().sort_values(ascending=False).items():
    if value > joint and name != "unimodal":
        print(f"  {name:13} {value:.1%}")

# %% [markdown]
# ## Figures
#
# Bars are means, points are single seeds; the dotted line is `none`. Every figure can draw on axes
# of yours, here for all of the width, and can be changed afterwards, here in its limits, which do
# not begin at zero.

# %%
from matplotlib.figure import Figure

shown = {
    "accuracy": ("Accuracy", (0.85, 1)),
    "linear_probe visual": ("Linear probe of visual", (0.5, 0.8)),
}
for metric, (label, limits) in shown.items():
    ax = Figure(figsize=(6.9, 2.4), layout="constrained").subplots()
    figures.plot_comparison(found.dataset.sel(metric=[metric]), ax=ax)
    ax.set(ylabel=label, ylim=limits)
    figures.save(ax, out / f"{metric.replace(' ', '_')}.svg")

# %% [markdown]
# ![Accuracy by recipe, with each seed as a point](out/4_compare/accuracy.svg)
#
# ![Linear probe of the visual encoder by recipe](out/4_compare/linear_probe_visual.svg)
#
# ## For a paper
#
# The same table as LaTeX, and as CSV with all digits and p-values:

# %%
print(found.table("latex", metrics=accuracies))
(out / "table.csv").write_text(found.table("csv"))

# %% [markdown]
# [All metrics as CSV](out/4_compare/table.csv)
#
# What the numbers rest on is kept with them, down to a hash of the data:

# %%
for name in ("epochs", "device", "training", "versions"):
    print(f"{name}: {found.protocol[name]}")

# %% [markdown]
# ## On a real task
#
# - More seeds: five, at least. With `folder=` every finished run is kept, and the same call made
#   again goes on where it stopped, also with more seeds or recipes.
# - Settings: the strength of a recipe is chosen on validation data, each with equal effort. Put
#   several settings of one recipe under labels of their own.
# - Costs: `flops=True`, the default, counts operations too, and `time_ratio` is there in any case.
#   It means something on a machine that does nothing else, and so not here.
#
# [Comparing recipes](../comparing.md) has the rest, and `imbalance-lens compare` does it from
# [the command line](../cli.md#compare).
