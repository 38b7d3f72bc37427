"""The two parameters decide which modality tells more about the digit."""

import functools

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from imbalance_lens.datasets import AVDigits


@functools.cache
def linear_accuracy(modality: str, audio_snr_db: float | None, visual_noise: float) -> float:
    features, labels = zip(
        *(
            (getattr(digits, modality).flatten(1).numpy(), digits.labels.numpy())
            for digits in (
                AVDigits(split, audio_snr_db=audio_snr_db, visual_noise=visual_noise)
                for split in ("train", "test")
            )
        ),
        strict=True,
    )
    model = LogisticRegression(C=0.01, max_iter=500).fit(features[0], labels[0])
    return float(model.score(features[1], labels[1]))


def test_a_lower_ratio_makes_the_sounds_harder():
    clean, noisy, drowned = (linear_accuracy("audio", snr, 0.0) for snr in (None, -5.0, -15.0))
    assert clean > 0.9
    assert clean > noisy + 0.1 > drowned + 0.3
    assert drowned > 0.2


def test_more_noise_makes_the_images_harder():
    clean, noisy, drowned = (linear_accuracy("visual", None, noise) for noise in (0.0, 1.0, 3.0))
    assert clean > 0.8
    assert clean > noisy + 0.05 > drowned + 0.3
    assert drowned > 0.2


@pytest.mark.parametrize(
    ("stronger", "weaker", "settings"),
    [("audio", "visual", (None, 3.0)), ("visual", "audio", (-15.0, 0.0))],
)
def test_either_modality_can_be_planted_as_the_stronger(stronger, weaker, settings):
    assert linear_accuracy(stronger, *settings) > linear_accuracy(weaker, *settings) + 0.4


class Late(nn.Module):
    """Two small encoders and one linear head over their features side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"audio": encoder(3, 2), "visual": encoder(2, 1)})
        self.head = nn.Linear(64, 10)

    def forward(self, inputs: dict[str, Tensor], silent: str = "") -> Tensor:
        features = [encode(inputs[m]) * (m != silent) for m, encode in self.encoders.items()]
        return self.head(torch.cat(features, dim=1))


def encoder(layers: int, first_stride: int) -> nn.Sequential:
    made: list[nn.Module] = []
    for k in range(layers):
        stride = 2 if k else first_stride
        made += [nn.Conv2d(32 if k else 1, 32, 3, stride, padding=1), nn.ReLU()]
    return nn.Sequential(*made, nn.Flatten(), nn.Linear(512, 32), nn.ReLU())


def accuracy_without_each(**settings) -> dict[str, float]:
    train, test = (AVDigits(split, **settings) for split in ("train", "test"))
    model = Late()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(6):
        for batch in torch.randperm(len(train)).split(64):
            inputs = {"audio": train.audio[batch], "visual": train.visual[batch]}
            optimizer.zero_grad()
            cross_entropy(model(inputs), train.labels[batch]).backward()
            optimizer.step()
    inputs = {"audio": test.audio, "visual": test.visual}
    with torch.no_grad():
        answers = {m: model(inputs, silent=m).argmax(1) for m in ("", "audio", "visual")}
    return {m: (given == test.labels).float().mean().item() for m, given in answers.items()}


@pytest.mark.parametrize(
    ("dominant", "other", "settings"),
    [("audio", "visual", {"visual_noise": 3.0}), ("visual", "audio", {"audio_snr_db": -15.0})],
)
def test_a_model_trained_on_both_leans_on_the_planted_modality(dominant, other, settings):
    accuracy = accuracy_without_each(**settings)
    assert accuracy[""] > 0.8
    assert accuracy[other] > accuracy[dominant] + 0.3
