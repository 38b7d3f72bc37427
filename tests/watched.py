"""A small model in training, and a probe that keeps what it is shown."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_lens import Anatomy, Lens
from imbalance_lens.errors import NotApplicableError
from imbalance_lens.observation import Need, Observation
from imbalance_lens.probes._base import Probe

WHO = Anatomy({"audio": "audio", "visual": "visual"}, head="head")


class Net(nn.Module):
    """Late fusion with everything that could be disturbed: BatchNorm, Dropout, a restless head."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True))
        self.visual = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3))
        self.norm, self.head = nn.BatchNorm1d(16), nn.Sequential(nn.Dropout(), nn.Linear(16, 3))

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(self.norm(torch.cat([self.audio(audio), self.visual(visual)], 1)))


class Notes(Probe):
    """Keeps what it was shown."""

    needs = (Need.LABELS, Need.MODALITY_LOGITS, Need.COALITIONS, Need.FEATURES, Need.BATCHNORMS)

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def observe(self, seen: Observation) -> None:
        seen.coalitions({"audio"})
        self.seen.append(seen)

    def result(self) -> Any:
        raise NotApplicableError("it only keeps what it was shown")

    def merge(self, other: Any) -> None:
        self.seen += other.seen


def batches(count: int = 6) -> list[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(8, 4, generator=draw),
            torch.randn(8, 6, generator=draw),
            torch.randint(0, 3, (8,), generator=draw),
        )
        for _ in range(count)
    ]


def train(model: nn.Module, watch: Callable[[nn.Module], Lens] | None = None) -> Lens | None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    session = watch(model).__enter__() if watch else None
    for audio, visual, labels in batches():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(audio, visual), labels).backward()
        if session:
            session.step(labels)
        optimizer.step()
        model.eval()
        model(audio, visual)
        model.train()
    if session:
        session.__exit__()
    return session


def fresh() -> Net:
    torch.manual_seed(1)
    return Net()
