"""A model whose BatchNorm layers are not fresh ones."""

from functools import partial

from torch import nn

from .trainings import AudioVisual, model_of


class MidLife(AudioVisual):
    """Between a fresh layer and another fresh one, alpha would have no gradient."""

    def __init__(self) -> None:
        super().__init__(norm=True)
        for encoder in (self.audio, self.visual):
            nn.init.uniform_(encoder[1].weight, 0.2, 1.8)
            nn.init.uniform_(encoder[1].bias, -0.5, 0.5)


normed = partial(model_of, MidLife)
