# %% [markdown]
# # 1. Diagnose a checkpoint
#
# Someone trained a network on sounds and images, and left a file of weights. Does the network use
# both? This page finds out, from that file, the code that builds the model, and data with labels.
#
# ## A checkpoint
#
# First we play that someone. The data comes with the package: digits that are spoken (`audio`) and
# written (`visual`), the images with some noise. The training is the usual loop, and knows nothing
# of imbalance-lens.

# %%
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from imbalance_lens.datasets import AVDigits
from imbalance_lens.models import LateFusion

out = Path("out/1_diagnose")
out.mkdir(parents=True, exist_ok=True)


def build() -> nn.Module:
    """Return an encoder per modality and a linear head over both."""
    return LateFusion.small(["audio", "visual"], classes=10)


torch.manual_seed(0)
model = build()
optimizer = torch.optim.SGD(
    model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4
)
train = DataLoader(
    AVDigits("train", visual_noise=0.5), batch_size=64, shuffle=True
)
for _ in range(6):
    for inputs, labels in train:
        loss = nn.functional.cross_entropy(model(**inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
torch.save(model.state_dict(), out / "checkpoint.pt")

# %% [markdown]
# ## The weights alone
#
# From here on there is only the file. Even without the model's code it tells something: a channel
# whose BatchNorm has a scale and a shift next to zero says the same whatever comes in. Such
# channels are counted here layer by layer, under several thresholds for "next to zero".

# %%
import imbalance_lens as lens

scanned = lens.scan_checkpoint(out / "checkpoint.pt")
print(scanned["abnormal_count"].to_pandas().T)

# %% [markdown]
# One row per BatchNorm layer, one column per threshold. A training of a few epochs leaves hardly
# any; long trainings with weight decay, and encoders pre-trained elsewhere, are where to look.
#
# ## Who is who
#
# For everything else the library has to know which part of the model belongs to which modality.
# Nobody has to tell: it runs the model once on a few examples and follows what flows where.

# %%
model = build()
model.load_state_dict(lens.load_weights(out / "checkpoint.pt"))
test = DataLoader(AVDigits("test", visual_noise=0.5), batch_size=100)
inputs, labels = next(iter(test))
print(lens.explain(lens.find_anatomy(model, inputs), model))

# %% [markdown]
# Look at this once for every new model. Each modality has an *encoder*, and *sites* where its
# signal can be read and replaced; behind them come the fusion and the *head*. If that is not how
# you see your model, change the last line to what is right, and give it to `diagnose` as
# `anatomy=`.
#
# ## The diagnosis
#
# One call runs all probes that apply, in one pass over the data. The model is the same afterwards,
# bit by bit.

# %%
report = lens.diagnose(model, test)
print(report)

# %% [markdown]
# ## How to read it
#
# - **The first paragraph** is the verdict, with its margin and an interval. It says that it is *not
#   clear* where the interval leaves a doubt or the indicators disagree.
# - **The table** has a row per modality. *alone* is the accuracy with only this modality's
#   features, *without* with all others; *drop* is what leaving it out costs. *linear* is what a
#   fresh linear classifier gets from the same features: where it is far above *alone*, the encoder
#   knows more than the model makes use of. That is what a modality looks like that another one has
#   outpaced.
# - **Findings** are rules with thresholds: `!` was found, `?` may be. [All of them are
#   listed](../findings.md).
# - **What may help** names recipes. [Tutorial 2](2_treat.md) takes one.
#
# ## The data behind it
#
# The text is derived from labelled data, one data set per probe. Every number has its dimensions by
# name, its unit, and what it means.

# %%
found = report.tree["zero_out"]["alone"]
print(found.to_pandas())
print(found.attrs["long_name"])

# %% [markdown]
# The main numbers as a pandas table:

# %%
print(report.to_dataframe()[["alone", "left_out", "drop"]].round(3))

# %% [markdown]
# And the findings as objects: what each says, the rule, the modality that is meant, and where the
# number that decided stands in the tree. Here are those that do not say no:

# %%
for finding in report.findings:
    if finding.verdict != "no":
        which = f"{finding.rule} {finding.modality}"
        print(f"{finding.verdict:12}  {which:26}  {finding.evidence}")

# %% [markdown]
# ## Figures
#
# Each figure is a function of the data set that it draws, and returns matplotlib's axes.

# %%
from imbalance_lens import figures

figures.save(
    figures.plot_zero_out(report.tree["zero_out"].to_dataset()),
    out / "zero_out.svg",
)

# %% [markdown]
# ![Accuracy with each modality alone and without it, as bars](out/1_diagnose/zero_out.svg)
#
# Dark bars are a modality alone, light ones the model without it. All that fits on a page:

# %%
figures.save(figures.plot_overview(report.tree), out / "overview.svg")

# %% [markdown]
# ![The main figures of the report on one page](out/1_diagnose/overview.svg)
#
# ## Keep it
#
# `report.nc` has every number and opens without the model, the data or torch; the HTML page is one
# file that can be mailed to someone.

# %%
report.save(out / "report.nc")
report.to_html(out / "report.html")
print(lens.load_report(out / "report.nc").findings[0].sentence)

# %% [markdown]
# [The page that was written](out/1_diagnose/report.html)
#
# The command line does the same: [`imbalance-lens scan`, `anatomy`, `diagnose`, `report` and
# `figures`](../cli.md).
