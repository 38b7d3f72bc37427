# %% [markdown]
# # 6. Figures for a paper
#
# From numbers to files that a publisher takes: the width of a column, fonts inside, one color per
# modality wherever it appears, and the numbers of each figure beside it. First, something to show:
# a short training with [OGM-GE](../recipes/ogm_ge.md) on the bundled digits, and the report on what
# came of it.

# %%
import subprocess
import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import imbalance_lens as lens
import recipes
from imbalance_lens.datasets import AVDigits
from imbalance_lens.models import LateFusion

out = Path("out/6_figures")
out.mkdir(parents=True, exist_ok=True)

torch.manual_seed(0)
model = LateFusion.small(["audio", "visual"], classes=10)
train = AVDigits("train", visual_noise=0.5)
fit = recipes.apply(
    "ogm_ge",
    model,
    DataLoader(train, batch_size=64, shuffle=True),
    epochs=3,
    optimizer=lambda parameters: torch.optim.SGD(
        parameters, lr=0.02, momentum=0.9
    ),
    seed=0,
    device="cpu",
)
test = DataLoader(AVDigits("test", visual_noise=0.5), batch_size=100)
report = lens.diagnose(model, test)

# %% [markdown]
# ## One figure, one call
#
# `plot_<name>` takes the data set that holds the numbers. Without further ado the figure is as wide
# as a column of a two-column page, 3.35 inches; include it without scaling, and its letters have
# about the size of your captions.

# %%
from imbalance_lens import figures

zero_out = report.tree["zero_out"].to_dataset()
ax = figures.plot_zero_out(zero_out)
print(ax.figure.get_size_inches(), "inches")
figures.save(ax, out / "zero_out.svg")
figures.save(ax, out / "zero_out.pdf")

# %% [markdown]
# ![Accuracy with each modality alone and left out, with intervals](out/6_figures/zero_out.svg)
#
# [The same as PDF](out/6_figures/zero_out.pdf). The whiskers are 95 % intervals over the examples;
# say so in the caption, and how many examples there were.
#
# What comes back are matplotlib's axes. Whatever the journal or your taste asks for is one more
# line:

# %%
ax.set_ylabel("Accuracy")
ax.set_ylim(0, 1)
ax.figure.suptitle("Spoken and written digits", fontsize=9)
figures.save(ax, out / "titled.svg")

# %% [markdown]
# ![The same with a title](out/6_figures/titled.svg)
#
# ## Several in one
#
# With `ax=` a figure is drawn where you want it, and in your style. Two panels over both columns:

# %%
import matplotlib as mpl
from matplotlib.figure import Figure

with mpl.rc_context({"font.size": 8, "legend.frameon": False}):
    both = Figure(figsize=(6.9, 2.4), layout="constrained")
    left, right = both.subplots(1, 2)
    figures.plot_discrepancy(fit.history, ax=left)
    figures.plot_coefficient(fit.history, ax=right)
    for letter, panel in zip("ab", (left, right), strict=True):
        panel.annotate(
            letter,
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(-30, 12),
            textcoords="offset points",
            fontweight="bold",
        )
figures.save(both, out / "training.svg")

# %% [markdown]
# ![Discrepancy ratio and coefficient over the training, side by side](out/6_figures/training.svg)
#
# Each modality keeps its color, here and in every other figure: by its place in the anatomy, from a
# palette that does not rely on telling red from green. To be sure of the order in a data set of
# several sources, set it: `ds.attrs["modalities"] = '["audio", "visual"]'`.
#
# ## All of them, with their numbers
#
# `imbalance-lens figures report.nc --out all` draws whatever a saved report has numbers for, and
# needs neither model nor data. Beside each figure lies a CSV with what is drawn, for the appendix
# or for another plotting program. Here only two and the overview:

# %%
report.save(out / "report.nc")
command = [sys.executable, "-m", "imbalance_lens", "figures"]
command += [str(out / "report.nc"), "--out", str(out / "all")]
for name in ("zero_out", "shapley", "overview"):
    command += ["--figure", name]
done = subprocess.run(command, capture_output=True, text=True, check=True)
print(done.stdout)

# %%
print((out / "all/zero_out.csv").read_text())

# %% [markdown]
# [`zero_out.csv`](out/6_figures/all/zero_out.csv) and
# [`overview.pdf`](out/6_figures/all/overview.pdf), the page with the main ones.
#
# ## What the publisher checks
#
# Fonts have to be in the file, and not as Type 3. In a PDF they lie as TrueType; in an SVG the
# letters are outlines, so it looks the same everywhere. The same data gives the same file, byte for
# byte, which keeps a repository with figures quiet.

# %%
written = (out / "zero_out.pdf").read_bytes()
print("TrueType inside:", b"/FontFile2" in written)
print("Type 3:", b"/Type3" in written)
figures.save(figures.plot_zero_out(zero_out), out / "again.pdf")
figures.save(figures.plot_zero_out(zero_out), out / "once_more.pdf")
same = (out / "again.pdf").read_bytes() == (out / "once_more.pdf").read_bytes()
print("the same twice:", same)

# %% [markdown]
# [Figures](../figures.md) lists all of them, with what each is drawn from and which paper has one
# like it. What a [comparison](../comparing.md) or a training leaves behind is drawn by the same
# command.
