# %% [markdown]
# # 7. Lightning, Accelerate, or a loop of your own
#
# [`recipes.apply`](../training.md) trains with a loop that comes along. Most people have one
# already. This page puts the same recipe into four loops, the bundled one, one written by hand, one
# with Accelerate and one with Lightning, and then looks whether the same model comes out: bit by
# bit.
#
# ## What is the same for all
#
# A model, batches in a fixed order, an optimizer, a recipe. The digits come with the package.

# %%
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset

import recipes
from imbalance_lens.datasets import AVDigits
from imbalance_lens.models import LateFusion

EPOCHS = 2
digits = Subset(AVDigits("train", visual_noise=0.5), range(512))
trained = {}


def build() -> nn.Module:
    """Return the model, with the same first weights at every call."""
    torch.manual_seed(0)
    return LateFusion.small(["audio", "visual"], classes=10)


def loader() -> DataLoader:
    """Return the batches; not shuffled, so that every loop sees the same."""
    return DataLoader(digits, batch_size=64)


def sgd(parameters) -> torch.optim.Optimizer:
    """Return the optimizer."""
    return torch.optim.SGD(parameters, lr=0.02, momentum=0.9)


example, _ = next(iter(loader()))

# %% [markdown]
# ## 1. The bundled loop

# %%
trained["bundled"] = build()
fit = recipes.apply(
    "ogm_ge",
    trained["bundled"],
    loader(),
    epochs=EPOCHS,
    optimizer=sgd,
    seed=0,
    device="cpu",
)
print(fit.summary())

# %% [markdown]
# ## 2. A loop of your own
#
# `recipes.attach` finds the encoders and waits for three calls: `batch` before the model, `loss` on
# what the criterion gave, `gradients` between backward and the optimizer's step. The recipe takes
# effect there, whatever else your loop does.

# %%
model = trained["by hand"] = build()
with recipes.attach("ogm_ge", model, example, seed=0) as remedy:
    optimizer = sgd([*model.parameters(), *remedy.parameters()])
    for _ in range(EPOCHS):
        for inputs, labels in loader():
            inputs, labels = remedy.batch(inputs, labels)  # <- 1
            loss = remedy.loss(cross_entropy(model(**inputs), labels))  # <- 2
            optimizer.zero_grad()
            loss.backward()
            remedy.gradients(optimizer)  # <- 3
            optimizer.step()
        remedy.close_epoch()

# %% [markdown]
# At the end of `with` nothing is attached any longer. What the recipe recorded is in
# `remedy.history`.

# %%
history = remedy.history.dataset({})
print(history["step_coefficient"].isel(step=slice(3)).to_pandas().round(3))

# %% [markdown]
# ## 3. Accelerate
#
# The same three calls. `attach` gets the model before `prepare`, `gradients` the optimizer as
# Accelerate wraps it. With gradient accumulation, call `gradients` only where
# `accelerator.sync_gradients` says that a step comes.

# %%
from accelerate import Accelerator

model = trained["accelerate"] = build()
accelerator = Accelerator(cpu=True)
with recipes.attach("ogm_ge", model, example, seed=0) as remedy:
    optimizer = sgd([*model.parameters(), *remedy.parameters()])
    prepared, optimizer, batches = accelerator.prepare(
        model, optimizer, loader()
    )
    for _ in range(EPOCHS):
        for inputs, labels in batches:
            inputs, labels = remedy.batch(inputs, labels)
            loss = remedy.loss(cross_entropy(prepared(**inputs), labels))
            optimizer.zero_grad()
            accelerator.backward(loss)
            remedy.gradients(optimizer)
            optimizer.step()
        remedy.close_epoch()

# %% [markdown]
# ## 4. Lightning
#
# A callback, and the module stays as it is. `model=` is the path of what `training_step` calls.

# %%
import warnings

import lightning.pytorch as pl

from recipes.adapters.lightning import RecipeCallback


class Digits(pl.LightningModule):
    """The training as Lightning wants it, without a line about recipes."""

    def __init__(self):
        super().__init__()
        self.model = build()

    def training_step(self, batch):
        inputs, labels = batch
        return cross_entropy(self.model(**inputs), labels)

    def configure_optimizers(self):
        return sgd(self.parameters())


callback = RecipeCallback("ogm_ge", model="model", inputs=example, seed=0)
trainer = pl.Trainer(
    max_epochs=EPOCHS,
    accelerator="cpu",
    callbacks=[callback],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
module = Digits()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Lightning's, on workers and logging
    trainer.fit(module, loader())
trained["lightning"] = module.model

# %% [markdown]
# ## The same?

# %%
expected = trained["bundled"].state_dict()
for name, model in trained.items():
    found = model.state_dict()
    same = all(torch.equal(found[key], expected[key]) for key in expected)
    print(f"{name:10} {'bitwise the same' if same else 'different'}")

# %% [markdown]
# And so that this is no proof of doing nothing, the training without the recipe:

# %%
plain = build()
recipes.apply(
    "none", plain, loader(), epochs=EPOCHS, optimizer=sgd, device="cpu", seed=0
)
found = plain.state_dict()
same = all(torch.equal(found[key], expected[key]) for key in expected)
print("none      ", "bitwise the same" if same else "different")

# %% [markdown]
# Accumulation, GradScaler, clipping and several ranks, with the order in which everything has to
# come, are on the page on [loops of your own](../own_loop.md); which event a recipe acts at, and
# which call makes it happen, on the page on [events](../events.md).
