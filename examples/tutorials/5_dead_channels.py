# %% [markdown]
# # 5. Dead channels in a borrowed encoder
#
# No encoder for sounds at hand? Then one that was trained on images may do: spectrograms are
# pictures too. Often it does, and sometimes such an encoder is worse than a fresh one. One reason
# are BatchNorm channels that were switched off in its first life and are not switched on again in
# the second (Feng et al., *Revisiting Pre-training in Audio-Visual Learning*, 2023). This page
# borrows an encoder, looks for such channels, and brings them back with
# [ABRi](../recipes/abri.md).
#
# ## The first life
#
# A small network learns the written digits, with a strong weight decay. It pulls at all weights,
# and the scale and the shift of a BatchNorm channel that the network can do without go to zero.

# %%
import textwrap
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from imbalance_lens.datasets import AVDigits
from imbalance_lens.models import ConcatFusion, LateFusion, SmallCnn

out = Path("out/5_dead_channels")
out.mkdir(parents=True, exist_ok=True)

torch.manual_seed(0)
train = DataLoader(AVDigits("train"), batch_size=64, shuffle=True)
seeing = SmallCnn()
model = nn.Sequential(seeing, nn.Linear(seeing.out_features, 10))
optimizer = torch.optim.SGD(
    model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.03
)
for _ in range(25):
    for inputs, labels in train:
        loss = nn.functional.cross_entropy(model(inputs["visual"]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
torch.save(seeing.state_dict(), out / "images.pt")

# %% [markdown]
# ## What the file says
#
# The weights alone show it. A channel is *abnormal* at a threshold when both its scale and its
# shift are smaller:

# %%
import imbalance_lens as lens

thresholds = (1e-2, 1e-4, 1e-10)
scanned = lens.scan_checkpoint(out / "images.pt", thresholds=thresholds)
print(scanned["abnormal_count"].to_pandas().T)
print(f"of {scanned['channels'].sum().item()} channels")

# %% [markdown]
# On the command line that is `imbalance-lens scan images.pt`, and needs neither data nor model.
#
# ## The second life
#
# Now a model for sounds *and* images begins with these weights in both encoders. Do tiny parameters
# mean that nothing comes through? That depends on what the other channels give, so it is looked at
# on data: [`dead_features`](../probes/dead_features.md) counts the channels behind each ReLU that
# are 0 for nearly every example.


# %%
def build() -> LateFusion:
    """Return a model that begins with the images' weights in both encoders."""
    torch.manual_seed(0)
    encoders = {"audio": SmallCnn(), "visual": SmallCnn()}
    for encoder in encoders.values():
        encoder.load_state_dict(lens.load_weights(out / "images.pt"))
    sizes = {name: encoder.out_features for name, encoder in encoders.items()}
    return LateFusion(encoders, ConcatFusion(sizes, classes=10))


test = DataLoader(AVDigits("test"), batch_size=100)
report = lens.diagnose(
    build(), test, probes=["abnormal_batchnorm", "dead_features"]
)
for finding in report.findings:
    if finding.rule == "dead_capacity":
        print(textwrap.fill(finding.sentence, 80), end="\n\n")
for recommendation in report.recommendations:
    print(recommendation.recipe, "for", recommendation.modality)

# %% [markdown]
# Each dot is a channel: how often it is dead on the data, against how often its parameters say so.

# %%
from imbalance_lens import figures
from imbalance_lens.capacity import join

ds = join(
    report.tree["dead_features"].to_dataset(),
    report.tree["abnormal_batchnorm"].to_dataset(),
)
figures.save(figures.plot_dead_probability(ds), out / "before.svg")

# %% [markdown]
# ![Channels, by how often they are dead and should be](out/5_dead_channels/before.svg)
#
# ## Fine-tuning, with and without
#
# A dead channel gets next to no gradient, so fine-tuning leaves it where it is. ABRi gives every
# BatchNorm layer a freshly initialized twin and learns, channel by channel, how much each of them
# counts. With the report, the recipe converts the encoders that the report names. The same training
# twice, plain and with ABRi:

# %%
import recipes

trained = {}
for name, settings in (("none", {}), ("abri", {"report": report})):
    trained[name] = build()
    recipes.apply(
        name,
        trained[name],
        DataLoader(AVDigits("train"), batch_size=64, shuffle=True),
        epochs=3,
        optimizer=lambda parameters: torch.optim.SGD(
            parameters, lr=0.02, momentum=0.9, weight_decay=1e-4
        ),
        device="cpu",
        seed=0,
        **settings,
    )

# %% [markdown]
# What became of the channels, and of the accuracy, on the test digits:

# %%
for name, model in trained.items():
    found = lens.diagnose(
        model, test, probes=["zero_out", "dead_features", "linear_probe"]
    )
    dead = found.tree["dead_features"].to_dataset()
    for modality in ("audio", "visual"):
        own = dead.isel(layer=(dead["modality"] == modality).values)
        read = found.tree["linear_probe"]["accuracy"].sel(head=modality)
        print(
            f"{name}: {modality:6} {own['dead_count'].sum().item():2} of "
            f"{own['channels'].sum().item()} channels dead, "
            f"linear probe {100 * read.item():.1f} %"
        )
    both = found.tree["zero_out"]["accuracy"].sel(coalition="audio+visual")
    print(f"{name}: both together {100 * both.item():.1f} %\n")

# %% [markdown]
# One seed says what happened here, not what ABRi does: for that, [compare](../comparing.md) over
# several. The paper's own advice is in [the recipe's page](../recipes/abri.md): with unequal
# modalities, convert the weaker encoder only.
#
# ## Out of the door
#
# The converted layers are of a class of ours. `fold` makes plain BatchNorm layers of them that
# answer the same, so the weights fit the class that they came from:

# %%
inputs, labels = next(iter(test))
model = trained["abri"].eval()
with torch.no_grad():
    before = model(**inputs)
    recipes.abri.fold(model)
    after = model(**inputs)
print("largest difference of a logit:", f"{(before - after).abs().max():.0e}")
print(build().load_state_dict(model.state_dict()))

# %% [markdown]
# In a loop of your own, `recipes.abri.convert(encoder)` before the optimizer is made and
# `recipes.abri.fold(encoder)` at the end are all that it takes.
