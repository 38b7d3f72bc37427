"""Two ways to ask how much a modality tells: a linear classifier, and a small network.

`docs/data.md` gives what they answer.
"""

from collections.abc import Sequence

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from imbalance_lens.datasets._pairing import PairedDigits


def linear_accuracy(train: PairedDigits, test: PairedDigits, modality: str) -> float:
    """Return the test accuracy of a logistic regression on the values of one modality."""
    model = LogisticRegression(C=0.01, max_iter=500)
    model.fit(getattr(train, modality).flatten(1).numpy(), train.labels.numpy())
    return float(model.score(getattr(test, modality).flatten(1).numpy(), test.labels.numpy()))


class Late(nn.Module):
    """One small convolutional encoder per modality, and a linear head over their features."""

    def __init__(self, shapes: dict[str, torch.Size]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: encoder(shape) for name, shape in shapes.items()})
        self.head = nn.Linear(32 * len(shapes), 10)

    def forward(self, inputs: dict[str, Tensor], silent: str = "") -> Tensor:
        features = [encode(inputs[m]) * (m != silent) for m, encode in self.encoders.items()]
        return self.head(torch.cat(features, dim=1))


def encoder(shape: torch.Size) -> nn.Sequential:
    """Return convolutions that halve the input until a side is 4 or less, and 32 features."""
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    height, width = shape[-2:]
    channels = 16
    while min(height, width) > 4:
        layers += [nn.Conv2d(channels, 32, 3, stride=2, padding=1), nn.ReLU()]
        height, width, channels = (height + 1) // 2, (width + 1) // 2, 32
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * height * width, 32), nn.ReLU())


def network_accuracy(
    train: PairedDigits, test: PairedDigits, modalities: Sequence[str], *, epochs: int, seed: int
) -> dict[str, float]:
    """Train on some modalities and return the test accuracy with the features of one zeroed.

    The key "" holds the accuracy with all of them.
    """
    torch.manual_seed(seed)
    seen, unseen = ({m: getattr(d, m) for m in modalities} for d in (train, test))
    model = Late({m: inputs.shape for m, inputs in seen.items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(train)).split(64):
            logits = model({m: inputs[batch] for m, inputs in seen.items()})
            optimizer.zero_grad()
            cross_entropy(logits, train.labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        answers = {silent: model(unseen, silent).argmax(1) for silent in ("", *modalities)}
    return {silent: (a == test.labels).double().mean().item() for silent, a in answers.items()}
