"""The probes that live from coalitions, on models that `diagnose` runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import nn

import imbalance_lens as lens
from imbalance_lens.testing import assert_passive, planted

COALITIONS = ("shapley", "permutation", "missing_modality", "emap")


def who(*modalities: str) -> dict[str, str]:
    return {name: name for name in modalities}


@contextmanager
def counted(module: nn.Module) -> Iterator[list[int]]:
    passes = [0]

    def count(*_) -> None:
        passes[0] += 1

    handle = module.register_forward_hook(count)
    yield passes
    handle.remove()


def passes_of(module: nn.Module, diagnose: Callable[[Sequence[str]], object], probes) -> int:
    """What probes add to a module's passes in a diagnosis without any."""
    totals = []
    for chosen in ((), probes):
        with counted(module) as passes:
            diagnose(chosen)
        totals.append(passes[0])
    return totals[1] - totals[0]


def head_passes(probes: Sequence[str], *modalities: str) -> int:
    model, loader = planted("audio", modalities, examples=64, batch_size=16)
    diagnose = partial(lens.diagnose, model, loader, who(*modalities))
    return passes_of(model.head, diagnose, probes)


@pytest.mark.parametrize(
    ("modalities", "shapley", "permutation", "emap"),
    [
        (("audio", "visual"), 4 * 3, 4 * 2 * 5, 2 * 15),
        (("audio", "visual", "text"), 4 * 7, 4 * 3 * 5, 2 * 3 * 15),
    ],
)
def test_head_passes_are_those_of_the_docstrings(modalities, shapley, permutation, emap):
    assert head_passes(["shapley"], *modalities) == shapley
    assert head_passes(["missing_modality"], *modalities) == shapley
    assert head_passes(["permutation"], *modalities) == permutation
    assert head_passes(["emap"], *modalities) == emap
    together = head_passes(["zero_out", "shapley", "missing_modality"], *modalities)
    assert together == shapley == head_passes(["zero_out"], *modalities)


def test_no_encoder_runs_again():
    model, loader = planted("audio", examples=64, batch_size=16)
    inside = model.get_submodule("audio")
    model.add_module("audio", nn.Sequential(inside))  # replayed as a whole
    diagnose = partial(lens.diagnose, model, loader, who("audio", "visual"))
    assert passes_of(inside, diagnose, COALITIONS) == 0


def test_all_of_them_find_the_planted_modality_and_leave_the_model_alone():
    names = ("audio", "visual", "text")
    model, loader = planted("visual", names)
    probes = [*COALITIONS, "agreement", "calibration"]
    with assert_passive(model):
        tree = lens.diagnose(model, loader, who(*names), probes=probes).tree
    others = ["audio", "text"]
    for answer, name in (
        (tree["shapley"], "contribution"),
        (tree["permutation"], "drop"),
        (tree["permutation"], "flip_rate"),
    ):
        ends = answer[f"{name}_interval"]
        behind = ends.sel(modality=others, bound="high")
        assert (ends.sel(modality="visual", bound="low") - behind > 0.3).all(), name
    missing = tree["missing_modality"]["accuracy"].sel(rate=0.9)
    assert missing.sel(modality="visual") < missing.sel(modality=others).min() - 0.3
    assert tree["agreement"]["accuracy"].sel(head="visual") > 0.9
    assert (tree["emap"]["gap"] == 0).all()  # the planted head adds
    assert (tree["calibration"]["count"].sum("bin") == 256).all()


def test_without_labels_what_needs_none_is_answered_and_the_rest_says_why():
    model, loader = planted("audio")
    unlabeled = [inputs for inputs, _ in loader]
    report = lens.diagnose(model, unlabeled, who("audio", "visual"), probes=COALITIONS)
    assert set(report.skipped) == {"shapley", "missing_modality"}
    flips = report.tree["permutation"]["flip_rate"]
    assert flips.sel(modality="audio") > 2 * flips.sel(modality="visual")
    assert report.tree["permutation"]["drop"].isnull().all()
    assert report.tree["emap"]["gap"].isnull().all()


def test_a_last_batch_of_one_example_costs_no_answer():
    model, loader = planted("audio", examples=33, batch_size=16)
    report = lens.diagnose(model, loader, who("audio", "visual"), probes=COALITIONS)
    assert report.skipped == {}
    assert report.tree["permutation"].attrs["left_out"] == 1
    assert report.tree["shapley"].attrs["examples"] == 33


def test_emap_is_refused_where_each_pass_would_run_the_whole_model():
    model, loader = planted("audio")
    anatomy = lens.Anatomy(
        encoders=who("audio", "visual"), sites={"audio": ("input:audio",), "visual": ("visual",)}
    )
    report = lens.diagnose(model, loader, anatomy, probes=COALITIONS)
    assert list(report.skipped) == ["emap"]
    assert "replaced at an input of the model" in report.skipped["emap"]


class Multiplying(nn.Module):
    """Answers whether two signs are the same, which no sum of two functions can."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.visual = nn.Linear(1, 1), nn.Linear(1, 1)
        for encoder in (self.audio, self.visual):
            nn.init.ones_(encoder.weight)
            nn.init.zeros_(encoder.bias)

    def forward(self, audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        product = self.audio(audio) * self.visual(visual)
        return torch.cat([product, -product], 1)


def test_a_model_that_multiplies_lives_from_the_interaction():
    signs = torch.randint(2, (2, 64, 1)).float() * 2 - 1
    labels = (signs[0] != signs[1]).long().squeeze(1)
    loader = [({"audio": signs[0], "visual": signs[1]}, labels)]
    tree = lens.diagnose(Multiplying(), loader, who("audio", "visual"), probes=COALITIONS).tree
    assert (tree["emap"]["gap_interval"].sel(bound="low") > 0.2).all()
    shapley = tree["shapley"].sel(value="confidence")
    assert shapley["cooperation"].item() == pytest.approx(1)
    assert shapley["interaction"].sel(modality="audio", other="visual") > 0.3
