"""Ratios of overfitting to generalization: the golden losses, undefined cases, one state."""

import numpy as np
import pytest
import torch

import imbalance_lens as lens
from imbalance_lens.errors import NotApplicableError
from imbalance_lens.observation import Gradients, Observation
from imbalance_lens.probes.gradient_ogr import GradientOgr
from imbalance_lens.probes.ogr import Ogr
from imbalance_lens.testing import planted
from tests.golden import NUMBERS

CARD = NUMBERS["gblend"]
HEADS = {"rgb": "rgb", "audio": "audio", "joint": "joint"}


def logits_of(loss: float) -> torch.Tensor:
    """Return two-class logits (1, 2) whose cross-entropy for class 0 is the loss."""
    probability = torch.tensor(-loss, dtype=torch.float64).exp()
    return torch.stack([probability, 1 - probability]).log()[None]


def seeing(losses: dict[str, float], *, epoch: int, training: bool) -> Observation:
    own = {name: logits_of(loss) for name, loss in losses.items() if name != "joint"}
    return Observation(
        torch.tensor([0]),
        logits_of(losses["joint"]),
        tuple(own),
        epoch=epoch,
        training=training,
        modality_logits=own,
    )


def answer(losses: dict[str, list[float]]):
    """Show two states, given T_N, V_N, T_N+n, V_N+n per head."""
    probe = Ogr()
    for place, (epoch, training) in enumerate([(0, True), (0, False), (1, True), (1, False)]):
        at = {name: four[place] for name, four in losses.items()}
        probe.observe(seeing(at, epoch=epoch, training=training))
    return probe.result()


def test_the_golden_terms_come_out():
    losses = CARD["L (T_N,V_N,T_N+n,V_N+n)"]
    found = answer({"rgb": losses["rgb"], "audio": losses["audio"], "joint": losses["joint"]})
    for term, key in (("delta_general", "G"), ("delta_overfit", "O"), ("ogr", "OGR")):
        wanted = [CARD[key][name] for name in ("rgb", "audio", "joint")]
        np.testing.assert_allclose(found[term].sel(epoch=1), wanted, atol=1e-5)
        np.testing.assert_allclose(found[f"total_{term}"], wanted, atol=1e-5)
    assert np.isnan(found["ogr"].sel(epoch=0)).all()


def test_an_unchanged_loss_has_no_ratio_and_the_reason_is_given():
    losses = {"rgb": [2.0, 2.0, 1.0, 2.0], "audio": [2, 2, 1, 1.5], "joint": [2, 2, 1, 1.8]}
    found = answer(losses)
    assert np.isnan(found["ogr"].sel(epoch=1, head="rgb"))
    assert found["delta_overfit"].sel(epoch=1, head="rgb").item() == pytest.approx(1)
    assert "rgb, up to epoch 1: the held-out loss did not change" in found.attrs["undefined"]


def test_accuracies_give_terms_of_their_own():
    found = answer({"rgb": [2, 2, 0.1, 2], "audio": [2, 2, 0.1, 0.1], "joint": [2, 2, 0.1, 0.1]})
    assert found["accuracy_delta_general"].sel(epoch=1).values.tolist() == [0, 1, 1]
    assert found["accuracy_delta_overfit"].sel(epoch=1).values.tolist() == [1, 0, 0]


def test_one_state_is_not_enough():
    probe = Ogr()
    probe.observe(seeing({"a": 1, "b": 1, "joint": 1}, epoch=0, training=True))
    with pytest.raises(NotApplicableError, match="two or more states"):
        probe.result()


def gradient_state(gradient: torch.Tensor, *, training: bool, examples: int = 1) -> Observation:
    both = {name: Gradients(gradient, gradient, torch.tensor(1.0)) for name in ("a", "b")}
    labels = torch.zeros(examples, dtype=torch.int64)
    logits = torch.zeros(examples, 2)
    return Observation(labels, logits, ("a", "b"), training=training, gradients=both)


def test_gradients_of_batches_are_averaged_with_their_examples():
    probe = GradientOgr()
    probe.observe(gradient_state(torch.tensor([6.0, 1.0]), training=True))
    probe.observe(gradient_state(torch.tensor([2.0, 1.0]), training=True, examples=3))
    probe.observe(gradient_state(torch.tensor([2.0, 2.0]), training=False))
    train, held_out = np.array([3.0, 1.0]), np.array([2.0, 2.0])
    wanted = abs((train - held_out) @ train / (held_out @ train))
    np.testing.assert_allclose(probe.result()["ogr"].sel(epoch=0, head="a"), wanted)


def test_the_same_examples_twice_do_not_overfit():
    model, loader = planted("audio")
    report = lens.diagnose(model, loader, train=loader, probes=["gradient_ogr"])
    np.testing.assert_allclose(report.tree["gradient_ogr"]["ogr"], 0, atol=1e-9)
    np.testing.assert_allclose(report.tree["gradient_ogr"]["cosine"], 1)
    skipped = lens.diagnose(model, loader, probes=["gradient_ogr"]).skipped
    assert "training with held-out" in skipped["gradient_ogr"]
