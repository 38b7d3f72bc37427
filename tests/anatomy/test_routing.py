"""Models that choose by value which of their modules to call."""

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.anatomy.find import find_anatomy
from imbalance_lens.errors import AnatomyError, SignalBypassWarning


def data(count: int = 12, size: int = 8) -> list[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(size, 4, generator=draw),
            torch.randn(size, 6, generator=draw),
            torch.arange(size) % 3,
        )
        for _ in range(count)
    ]


class Mixture(nn.Module):
    """Each example of one modality goes to one of several experts."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.ea, self.gate, self.head = nn.Linear(4, 5), nn.Linear(6, experts), nn.Linear(10, 3)
        self.experts = nn.ModuleList(nn.Linear(6, 5) for _ in range(experts))

    def choice(self, visual: Tensor) -> Tensor:
        return self.gate(visual).argmax(1)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        choice, features = self.choice(visual), visual.new_zeros(len(visual), 5)
        for index, expert in enumerate(self.experts):
            if (choice == index).any():
                features[choice == index] = expert(visual[choice == index])
        return self.head(torch.cat([self.ea(audio), features], 1))


class Ungated(Mixture):
    def choice(self, visual: Tensor) -> Tensor:
        return visual[:, :4].argmax(1)


@pytest.mark.parametrize("made", [Mixture, Ungated, lambda: Mixture(experts=2)])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_mixture_of_experts_is_left_out_at_its_input(made, size: int) -> None:
    model = made().eval()
    loader = data(size=size)

    report = lens.diagnose(model, loader, probes=["zero_out"])

    assert find_anatomy(model, loader[0][:2]).sites["audio"] == ("ea",)
    with torch.no_grad():
        right = [(model(a, 0 * v).argmax(1) == y).float() for a, v, y in loader]
    found = report.tree["zero_out"].alone.sel(modality="audio")
    assert float(found) == pytest.approx(float(torch.cat(right).mean()))


def test_the_evidence_says_why_a_mixture_is_read_at_its_input() -> None:
    found = find_anatomy(Mixture(), data()[0][:2])
    assert found.sites["visual"] == ("input:visual",)
    assert "values decide what is called in 'experts'" in found.evidence["input:visual"]


class Switch(Mixture):
    """One of two encoders takes the whole batch."""

    def __init__(self) -> None:
        super().__init__(experts=2)

    def choice(self, visual: Tensor) -> Tensor:
        return (visual.mean() > 0).long().expand(len(visual))


def test_a_batch_that_calls_another_encoder_is_told_what_to_write() -> None:
    who = {"audio": "ea", "visual": "experts.0"}
    with pytest.raises(AnatomyError, match=r"experts\.0' was not called.*chooses by batch.*input:"):
        lens.diagnose(Switch(), data(), who)
    at_input = lens.Anatomy(who, sites={"visual": ("input:visual",)})
    assert lens.diagnose(Switch(), data(), at_input, ["zero_out"]).tree.attrs["examples"] == 96


def test_an_expert_that_two_examples_do_not_call_is_found_to_pass_by() -> None:
    called = Ungated().choice(data()[0][1][:2]).unique().tolist()
    sites = tuple(f"experts.{index}" for index in called)
    who = lens.Anatomy({"audio": "ea", "visual": "experts"}, sites={"visual": sites})
    with pytest.warns(SignalBypassWarning, match=r"'visual' reaches the logits past"):
        lens.diagnose(Ungated(), data(1), who, ["zero_out"])
