# %% [markdown]
# # 2. Treat with OGM-GE, and see what changed
#
# A network in which one modality runs ahead stops giving the others a gradient to learn from.
# OGM-GE slows the one down that is ahead, for as long as it is ahead. This page trains the same
# network without and with it, from the same weights, and compares the two diagnoses.
#
# ## Before
#
# Spoken and written digits again. `recipes.apply` is a training loop; the recipe `none` adds
# nothing to it, and so it is plain joint training. The probe `discrepancy` watches on the way.

# %%
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import imbalance_lens as lens
import recipes
from imbalance_lens import figures
from imbalance_lens.datasets import AVDigits
from imbalance_lens.models import LateFusion

out = Path("out/2_treat")
out.mkdir(parents=True, exist_ok=True)

train = AVDigits("train", visual_noise=0.5)
test = DataLoader(AVDigits("test", visual_noise=0.5), batch_size=100)


def trained(recipe, **settings):
    """Return what came of training the same weights with a recipe."""
    torch.manual_seed(0)
    return recipes.apply(
        recipe,
        LateFusion.small(["audio", "visual"], classes=10, width=8),
        DataLoader(train, batch_size=64, shuffle=True),
        epochs=8,
        optimizer=partial(torch.optim.SGD, lr=0.02, momentum=0.9),
        probes=["discrepancy"],
        seed=0,
        **settings,
    )


before = trained("none")
report_before = lens.diagnose(before.model, test)
print(report_before.findings[0].sentence)

# %% [markdown]
# (This is the first finding of the report; [tutorial 1](1_diagnose.md) reads a whole one.)
#
# ## What the report suggests
#
# `suggest` goes from findings to recipes: which, why, what each needs of a model, and what of that
# this model lacks.

# %%
print(recipes.suggest(report_before))

# %% [markdown]
# `describe` says what a recipe does and where it comes from; the part on how it differs from the
# paper is worth a look before a result is written up.

# %%
print(recipes.describe("ogm_ge"))

# %% [markdown]
# ## After
#
# The same call, with the name of the recipe. `alpha` is its strength.

# %%
after = trained("ogm_ge", alpha=0.8)
report_after = lens.diagnose(after.model, test)
print(report_after.findings[0].sentence)

# %% [markdown]
# ## What changed
#
# The main numbers side by side. `alone` is the accuracy with one modality, `drop` what leaving it
# out costs, `linear_probe` what a fresh linear classifier gets from its encoder's features.

# %%
import pandas as pd

reports = {"before": report_before, "after": report_after}
numbers = {name: report.to_dataframe() for name, report in reports.items()}
columns = ["alone", "drop", "linear_probe"]
print(pd.concat(numbers)[columns].unstack(0).round(3).to_string())
for name, report in reports.items():
    joint = report.tree["zero_out"]["accuracy"].sel(coalition="audio+visual")
    print(f"{name:8} both together: {joint.item():.3f}")

# %% [markdown]
# Look at three things. Did the modality that was behind gain *alone*? Did its *drop* grow, so that
# the model now relies on it? And what did it cost: the one that was slowed down may have lost, and
# the accuracy of both together may have moved either way.

# %%
for name, report in reports.items():
    ax = figures.plot_zero_out(report.tree["zero_out"].to_dataset())
    ax.set_ylim(0, 1)
    ax.figure.suptitle(name, fontsize=9)
    figures.save(ax, out / f"{name}.svg")

# %% [markdown]
# ![Accuracy of each modality alone and left out, before](out/2_treat/before.svg)
# ![Accuracy of each modality alone and left out, after](out/2_treat/after.svg)
#
# ## How it came about
#
# The discrepancy ratio compares how sure the modalities are of the true classes, step by step:
# above 1 a modality is ahead. OGM-GE turns the ratio into a factor for the gradients of that
# encoder.

# %%
for name, fit in (("before", before), ("after", after)):
    ax = figures.plot_discrepancy(fit.probes["discrepancy"])
    ax.set_ylim(0.15, 6)
    ax.figure.suptitle(name, fontsize=9)
    figures.save(ax, out / f"ratio_{name}.svg")
figures.save(figures.plot_coefficient(after.history), out / "factor.svg")

# %% [markdown]
# ![Discrepancy ratio over the steps, before](out/2_treat/ratio_before.svg)
# ![Discrepancy ratio over the steps, after](out/2_treat/ratio_after.svg)
# ![Factor for the gradients of each encoder over the steps](out/2_treat/factor.svg)
#
# Everything that was recorded is in `fit.history`, per step and per epoch:

# %%
factor = after.history["step_coefficient"]
for modality in factor["modality"].values:
    of = factor.sel(modality=modality)
    print(f"{modality}: slowed in {(of < 1).mean():.0%} of the steps, ", end="")
    print(f"factor {of.mean():.2f} on average, {of.min():.2f} at least")

# %% [markdown]
# ## Before you believe it
#
# This was one seed, one strength and one recipe. Other seeds begin with other weights, and the
# differences between them can be as large as those between recipes: [tutorial
# 4](4_compare.md) trains over several. The strength depends on the task; the [page of the
# recipe](../recipes/ogm_ge.md) has the formula, and what each setting does.
