"""Six modalities, one that says nothing, and one that some batches lack."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import BatchError
from imbalance_lens.report import Report, Verdict

from .data_folder import require

NAMES = ("pixels", "fourier", "profile", "karhunen", "zernike", "shape")
Views = dict[str, Tensor]


class Linear(nn.Module):
    """Any number of linear encoders under one linear head."""

    def __init__(self, sizes: Mapping[str, int], classes: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({n: nn.Linear(s, classes) for n, s in sizes.items()})

    def forward(self, **views: Tensor) -> Tensor:
        features = [encoder(views[name]) for name, encoder in self.encoders.items()]
        return torch.stack(features).sum(0)


@pytest.fixture(scope="module")
def digits() -> tuple[Linear, list[tuple[Views, Tensor]]]:
    """Ridge regression on half of the six views of handwritten digits, and the other half."""
    from scipy.io import loadmat

    file = loadmat(require("multiview/handwritten.mat"))
    labels = torch.as_tensor(file["Y"].ravel().astype(int))
    labels -= labels.min()
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    fit, held = shuffled.chunk(2)
    views = {}
    for name, view in zip(NAMES, file["X"].ravel(), strict=True):
        rows = torch.as_tensor(np.asarray(view, dtype=np.float64))
        rows = rows if len(rows) == len(labels) else rows.T
        views[name] = (rows - rows[fit].mean(0)) / rows[fit].std(0).clamp_min(1e-9)
    model = Linear({name: view.shape[1] for name, view in views.items()}, 10).double().eval()
    joined, wanted = torch.cat([*views.values()], 1), nn.functional.one_hot(labels, 10).double()
    gram = joined[fit].T @ joined[fit] + 100 * torch.eye(joined.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, joined[fit].T @ (wanted[fit] - 0.1))
    parts = weights.split([view.shape[1] for view in views.values()])
    with torch.no_grad():
        for name, part in zip(NAMES, parts, strict=True):
            model.get_parameter(f"encoders.{name}.weight").copy_(part.T)
            model.get_parameter(f"encoders.{name}.bias").zero_()
    loader = [({n: v[rows] for n, v in views.items()}, labels[rows]) for rows in held.split(250)]
    return model, loader


def judged(report: Report, rule: str) -> dict[str, Verdict]:
    return {f.modality: f.verdict for f in report.findings if f.rule == rule}


def test_six_views_of_digits_are_scored_as_by_hand(digits) -> None:
    model, loader = digits
    report = lens.diagnose(model, loader, probes=["zero_out", "shapley"])

    assert report.modalities == NAMES
    scores, shares = report.tree["zero_out"], report.tree["shapley"]
    right: dict[str, list[Tensor]] = {name: [] for name in (*NAMES, "all", "none")}
    with torch.no_grad():
        for views, labels in loader:
            kept = {n: [n] for n in NAMES} | {"all": [*NAMES], "none": []}
            for which, present in kept.items():
                given = {n: v * (n in present) for n, v in views.items()}
                right[which].append((model(**given).argmax(1) == labels).double())
    accuracy = {which: float(torch.cat(rows).mean()) for which, rows in right.items()}
    assert accuracy["all"] > 0.9
    for name in NAMES:
        assert float(scores.alone.sel(modality=name)) == pytest.approx(accuracy[name])
    total = float(shares.contribution.sel(value="correct").sum())
    assert total == pytest.approx(accuracy["all"] - accuracy["none"])


def test_a_silent_view_is_unused_and_the_others_keep_their_numbers(digits) -> None:
    model, loader = digits
    silent = [({**v, "shape": torch.zeros_like(v["shape"])}, y) for v, y in loader]
    report = lens.diagnose(model, silent)

    assert judged(report, "unused_modality")["shape"] is Verdict.YES
    assert judged(report, "unused_modality")["pixels"] is Verdict.NO
    share = report.tree["shapley"].contribution.sel(value="correct")
    assert float(share.sel(modality="shape")) == pytest.approx(0, abs=1e-12)
    before = lens.diagnose(model, loader, probes=["zero_out"]).tree["zero_out"].alone
    after = report.tree["zero_out"].alone
    np.testing.assert_allclose(after[:-1], before[:-1])


class Two(nn.Module):
    """Takes its inputs by name, by position or as one mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.ea, self.ev, self.head = nn.Linear(4, 5), nn.Linear(6, 5), nn.Linear(10, 3)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.ea(audio), self.ev(visual)], 1))


class Optional(Two):
    """Does without a modality that is not there."""

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        features = audio.new_zeros(len(audio), 5) if visual is None else self.ev(visual)
        return self.head(torch.cat([self.ea(audio), features], 1))


class OneMapping(Two):
    def forward(self, batch: Views) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(batch["audio"], batch["visual"])


def batches(third: Views | dict[str, Tensor | None]) -> list[dict[str, Tensor | None]]:
    whole = {"audio": torch.randn(8, 4), "visual": torch.randn(8, 6)}
    return [{**each, "label": torch.arange(8) % 3} for each in (whole, whole, third, whole)]


@pytest.mark.parametrize("model", [Two(), Optional(), OneMapping()])
@pytest.mark.parametrize("third", [{}, {"visual": None}])
@pytest.mark.parametrize("who", [None, {"audio": "ea", "visual": "ev"}])
def test_a_batch_without_a_modality_is_named(model, third, who) -> None:
    loader = batches({"audio": torch.randn(8, 4), **third})
    with pytest.raises(BatchError, match=r"Batch 3 of the loader lacks the input 'visual'"):
        lens.diagnose(model, loader, who, ["zero_out"])


def test_a_batch_without_an_input_by_position_is_named() -> None:
    loader = [(*batches({})[0].values(),)] * 2 + [(torch.randn(8, 4), torch.arange(8) % 3)]
    with pytest.raises(BatchError, match="Batch 3 of the loader lacks the input 'number 2'"):
        lens.diagnose(Two(), loader, {"audio": "ea", "visual": "ev"}, ["zero_out"])
