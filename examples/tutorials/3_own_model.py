# %% [markdown]
# # 3. Your own model: three modalities, batches as mappings, a transformer
#
# Nothing in the library asks for two modalities, for their names, for a base class or for a kind of
# layer. This page takes a model that has none of the comforts of the tutorials before: a sound, an
# image and a caption with padding; batches as a tokenizer and a collate function leave them, with
# something in them that the model does not take; an output that is not just logits.
#
# ## The data
#
# The bundled digits, each with a caption made here: words without meaning around the name of the
# digit. In three of ten captions that name is drawn by chance.

# %%
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

import imbalance_lens as lens
from imbalance_lens.datasets import AVDigits

out = Path("out/3_own_model")
out.mkdir(parents=True, exist_ok=True)
# Ids 1 to 10 are the names of the digits; those above mean nothing.
PADDING, DIGITS, WORDS = 0, 1, 40


class Captioned(Dataset):
    """Sound, image and caption of the same digit."""

    def __init__(self, part, seed):
        self.digits = AVDigits(part, audio_snr_db=0.0, visual_noise=1.0)
        random = torch.Generator().manual_seed(seed)
        self.captions = [
            self.caption(label, random) for _, label in self.digits
        ]

    @staticmethod
    def caption(label, random):
        length = int(torch.randint(3, 9, (1,), generator=random))
        words = torch.randint(DIGITS + 10, WORDS, (length,), generator=random)
        drawn = torch.rand(1, generator=random) < 0.3
        digit = torch.randint(10, (1,), generator=random) if drawn else label
        words[torch.randint(length, (1,), generator=random)] = DIGITS + digit
        return words

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        inputs, label = self.digits[index]
        return {
            **inputs,
            "caption": self.captions[index],
            "label": label,
            "id": index,
        }


def collate(examples):
    """Return one mapping per batch, as tokenizers and processors give it."""
    ids = pad_sequence(
        [example["caption"] for example in examples], batch_first=True
    )
    return {
        "input_ids": ids,
        "attention_mask": ids != PADDING,
        "sound": torch.stack([example["audio"] for example in examples]),
        "pixel_values": torch.stack(
            [example["visual"] for example in examples]
        ),
        "labels": torch.tensor([example["label"] for example in examples]),
        "example_id": [f"digit-{example['id']}" for example in examples],
    }


train = DataLoader(
    Captioned("train", seed=0), 64, shuffle=True, collate_fn=collate
)
test = DataLoader(Captioned("test", seed=1), 100, collate_fn=collate)
for name, values in next(iter(test)).items():
    print(f"{name:15} {getattr(values, 'shape', values[:2])}")

# %% [markdown]
# ## The model
#
# A convolutional network for the sound, two layers for the image, a transformer for the caption;
# each goes through a projection to a common width, and two layers put the three together. What
# comes out is a mapping, as many models have it.


# %%
class Captions(nn.Module):
    """A small transformer; the mean over the tokens that are no padding."""

    def __init__(self, width=32):
        super().__init__()
        self.words = nn.Embedding(WORDS, width, padding_idx=PADDING)
        layer = nn.TransformerEncoderLayer(
            width, 4, 64, dropout=0.0, batch_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, 1, enable_nested_tensor=False
        )

    def forward(self, ids, mask):
        tokens = self.layers(self.words(ids), src_key_padding_mask=~mask)
        kept = mask.unsqueeze(-1)
        return (tokens * kept).sum(1) / kept.sum(1)


class Model(nn.Module):
    """Three encoders, three projections, two layers over all."""

    def __init__(self):
        super().__init__()
        self.ear = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        )  # fmt: skip
        self.eye = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU())
        self.reader = Captions()
        widths = {"ear": 256, "eye": 64, "reader": 32}
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, 32) for name, width in widths.items()}
        )
        self.top = nn.Sequential(
            nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10)
        )

    def forward(self, input_ids, attention_mask, sound, pixel_values):
        heard = self.project["ear"](self.ear(sound))
        seen = self.project["eye"](self.eye(pixel_values))
        read = self.project["reader"](self.reader(input_ids, attention_mask))
        together = torch.cat([heard, seen, read], dim=1)
        return {"logits": self.top(together), "embedding": together}


# %% [markdown]
# ## Batches
#
# A mapping with the labels under `label`, `labels` or `target` is understood as it is, and so are
# `(inputs, labels)` and `(input, input, ..., labels)`. For everything else there is a function of
# yours, which returns inputs and labels. Here it leaves out the ids, which the model would refuse.


# %%
def split(batch):
    inputs = {
        name: x
        for name, x in batch.items()
        if name not in ("labels", "example_id")
    }
    return inputs, batch["labels"]


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for _ in range(6):
    for batch in train:
        inputs, labels = split(batch)
        loss = nn.functional.cross_entropy(model(**inputs)["logits"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(f"the last loss was {loss.item():.3f}")

# %% [markdown]
# ## The anatomy that is found
#
# A modality is named after the input that feeds it; `names` gives it another name. The attention
# mask has no module of its own and joins the modality that it meets.

# %%
inputs, labels = split(next(iter(test)))
names = {"input_ids": "text", "pixel_values": "image"}
found = lens.find_anatomy(model, inputs, names=names)
print(lens.explain(found, model))

# %% [markdown]
# The encoder of a modality is its largest module before the modalities meet. Here that is the
# transformer for the text and `eye` for the image, but the *projection* for the sound, which has
# more parameters than `ear` before it. Everything else that only one modality uses is among its
# *parts*, so nothing is lost: a recipe that slows the sound down slows `ear` and its projection.
#
# ## The anatomy that is meant
#
# Still, some numbers are about an encoder's features, and would be about other places in the model
# for the sound than for the rest. What you write wins over what is found. Paths are those of
# `model.named_modules()`.

# %%
meant = lens.Anatomy(
    encoders={"text": "reader", "sound": "ear", "image": "eye"},
    parts={
        "text": ("reader", "project.reader"),
        "sound": ("ear", "project.ear"),
        "image": ("eye", "project.eye"),
    },
    head="top",
)
for name, anatomy in (("found", found), ("meant", meant)):
    report = lens.diagnose(
        model, test, anatomy, probes=["linear_probe"], split=split
    )
    accuracy = report.tree["linear_probe"]["accuracy"]
    print(name, accuracy.to_series().round(3).to_dict())

# %% [markdown]
# That is what a linear classifier reads from the features of each encoder, and from all of them
# (`joint`). Only the sound is read at another place.
#
# ## The report

# %%
report = lens.diagnose(model, test, meant, split=split)
print(report)

# %% [markdown]
# With three modalities, *alone* and *without* are no longer two sides of one number, and neither of
# them is the whole answer: a modality may be worth little alone and much together with another
# one. Shapley values share the accuracy out over all orders in which modalities can join.

# %%
from imbalance_lens import figures

figures.save(
    figures.plot_shapley(report.tree["shapley"].to_dataset()),
    out / "shapley.svg",
)

# %% [markdown]
# ![Shapley values of text, sound and image](out/3_own_model/shapley.svg)
#
# At the end of the report stands how each modality's logits were read. The head has a hidden layer,
# so its logits are no sum of three parts; it was asked with the other features at zero instead.
# [Readouts](../concepts/readouts.md) has what that means.
#
# ## Treat it
#
# Training takes the same `anatomy` and `split`:

# %%
import recipes

torch.manual_seed(0)
fit = recipes.apply(
    "ogm_ge",
    Model(),
    train,
    epochs=2,
    anatomy=meant,
    split=split,
    optimizer=lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9),
    seed=0,
)
print(fit.summary())

# %% [markdown]
# The ratio of a modality is the mean, over the others, of its score over theirs. So with three
# modalities several can be ahead at once, and all whose ratio is above 1 are slowed.
